//! The ring in one process, from a seed: real nodes on simulated machines, through faults, to the same checks.
//!
//! Network and time are turmoil's; disks lose power, fail, fill up and are slow; clocks are wrong. Everything above is
//! what the server runs: the log, the groups, metadata with reconciler and keepers, partitions with the real site
//! machine, routers with their spools, reports.
//!
//! The plan of faults and batches is made from the seed before anything runs. Certificates, HTTP and the gateway's
//! pipeline are not simulated: the tests with real processes have them.

mod bugs;
mod checks;
mod clock;
mod host;
mod network;
mod node;
mod peers;
mod plan;
mod reading;
mod ring;
mod ring_service;
mod run;
mod trace;
mod visitors;
mod watch;

pub use bugs::Bug;
pub use plan::{Fault, Plan};
pub use run::{SimOptions, SimReport, sim_replay_command, simulate};

//! A ring of real processes under faults: its network, its disks, its clocks, and what has to hold all the same.
//!
//! Nodes have slots, 1 and up: a place in the network with a fixed address and a disk. A node that lost its data comes
//! back at the same slot under a new id.

mod check;
mod cluster;
mod fault;
mod history;
mod lives;
mod network;
mod probe;
mod proxies;
mod report;
mod round;
pub mod sandbox;
mod volume;

pub use cluster::{Ring, RingOptions};
pub use fault::{Fault, FaultKind};
pub use report::{FaultRow, Report};
pub use round::{RoundOptions, run};

/// Every node's port of HTTP, at its own address.
const HTTP_PORT: u16 = 8080;
/// Every node's port of gRPC.
const GRPC_PORT: u16 = 7001;
/// Every node's port for its peers.
const PEER_PORT: u16 = 7000;
/// The port of the proxy before it, where there is one.
const PROXY_PORT: u16 = 7010;

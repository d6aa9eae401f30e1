//! Drives the real binary from outside: seeded visitors with predicted counts, kills, checkers, benchmarks.
//!
//! Place in the flow: a client before *collect* and a reader behind *query*; nothing in between is looked into. It
//! deliberately shares no counting code with the product: what a visit is, is said here a second time, plainly, from
//! the definitions. An event whose answer never came is *unknown*, never *absent*.

mod answers;
pub mod bench;
pub mod checkers;
pub mod client;
pub mod process;
pub mod ring;
mod ring_client;
pub mod run;
mod sample_log;
pub mod sim;
pub mod steady;
mod watch;
pub mod workload;

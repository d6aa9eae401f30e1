//! Drives the real binary from outside: seeded visitors with predicted counts, kills, checkers, benchmarks.
//!
//! Place in the flow: a client before *collect* and a reader behind *query*; nothing in between is looked into. It
//! deliberately shares no counting code with the product: what a visit is, is said here a second time, plainly, from
//! the definitions. An event whose answer never came is *unknown*, never *absent*.

pub mod bench;
pub mod checkers;
pub mod client;
pub mod process;
pub mod ring;
pub mod run;
pub mod sim;
pub mod steady;
pub mod workload;

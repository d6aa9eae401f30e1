//! A real Apache Cassandra 5 on loopback, started from its Maven packages.
//!
//! The one way in which this repository starts Cassandra: `cargo xtask cassandra` runs the program of this crate, the
//! tests of the store and the chaos tests use the library. Nothing of it is part of the product.
//!
//! It deliberately speaks no CQL beyond asking whether a node answers: what is written and read is the callers' matter.

mod configuration;
mod jars;
mod node;
mod ring;
pub mod trials;

pub use node::Node;
pub use ring::{LocalCassandra, Options};

/// The version that is started; the newest of its line when this was written.
pub const VERSION: &str = "5.0.9";

//! Checkpoints in ScyllaDB or Apache Cassandra: rows with versions, so that readers see a site at one log index while
//! writers go on.
//!
//! [`MirrorWriter`] and [`MirrorReader`] serve the write-behind of a ring; [`CassandraStore`] is the same table behind the
//! traits of every store, for one process at a time.
//!
//! A write of a site at an index puts a version of each changed row; the site row comes last, when all others are
//! acknowledged. A reader takes the newest version of the site row as its pin and of each row the newest version at or
//! below the pin. The version is the timestamp, too: what comes late, twice or from a leader of yesterday changes nothing.

mod breaker;
mod cells;
mod error;
mod gathering;
mod intents;
mod link;
mod options;
mod partition;
mod pruner;
mod reader;
mod schema;
mod session;
mod site_write;
mod statements;
mod store;
mod table;
mod writer;

pub use error::MirrorError;
pub use link::{Mirror, MirrorState};
pub use options::{CassandraOptions, Replication};
pub use reader::{MirrorReader, SitePin};
pub use schema::{SCHEMA_VERSION, init};
pub use site_write::SiteWrite;
pub use store::CassandraStore;
pub use writer::MirrorWriter;

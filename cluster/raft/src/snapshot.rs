//! How a replica that has fallen behind the log gets a peer's state.
//!
//! The sender streams the durable rows of its machine. The receiver writes them to a file of its own first and checks
//! them there; only what has arrived whole replaces the machine's rows. So a transfer that breaks changes nothing, and a
//! crash while the rows are replaced is made good from the file at the next start.
//!
//! What had arrived when a transfer broke is not sent again: the receiver tells the hashes of the parts that it holds, and
//! the sender names those that are still the same. Rows that changed meanwhile are in other parts.

mod cutter;
mod data;
mod follow;
mod part;
mod receive;
mod send;
mod staged_file;
mod staging;

pub(crate) use data::SnapshotData;
pub(crate) use follow::{follow_at_start, purge_durably};
pub use part::{SNAPSHOT_PART_BYTES_MAX, SnapshotPart, SnapshotSink, SnapshotSource};
pub(crate) use receive::receive_snapshot;
pub(crate) use send::send_snapshot;
pub(crate) use staged_file::StagedFile;
pub use staging::Staging;

#[cfg(test)]
mod resume_tests;

//! The durable log of a node: one sequence of segments, shared by all Raft groups.
//!
//! Place in the flow: *replicate*. `ringtail-raft` appends entries here and answers its callers once they are durable;
//! one write and one sync serve every group that waits. Purged segments go, or move to `kept/` where nobody
//! archives them.
//!
//! Promises:
//! - A callback with `Ok` means: synced to disk. Every callback is called exactly once, also when the disk fails.
//! - After a failed write or sync nothing more is taken ([`SegmentLog::failed`]): nobody knows what is on disk.
//!   A full disk is no failure: everyone waits until there is space ([`SegmentLog::is_full`]).
//! - Opening returns every entry whose callback said `Ok`, or refuses. It cuts only a tail that no later record
//!   proves to have been durable once.
//! - A purge is durable before the first segment moves.
//!
//! What it does not know: what an entry means, who may write, what consensus is, and who else uses the directory (the
//! server holds the lock).

mod active_segment;
mod disk;
mod driver;
mod error;
mod failure;
mod fault_disk;
mod group_head;
mod group_log;
mod group_state;
mod local_disk;
mod options;
mod position;
mod queue;
mod record;
mod recovery;
mod segment;
mod segment_log;
mod segments;
mod writer;

pub use disk::{Disk, DiskFile};
pub use driver::LogDriver;
pub use error::LogError;
pub use fault_disk::FaultDisk;
pub use group_log::GroupLog;
pub use local_disk::LocalDisk;
pub use options::LogOptions;
pub use position::{Entry, Position, Vote};
pub use queue::OnDurable;
pub use recovery::{RecoveryReport, TornTail};
pub use segment::SegmentId;
pub use segment_log::SegmentLog;

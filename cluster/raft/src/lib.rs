//! Raft groups over the node's shared log: the only crate that knows openraft.
//!
//! Place in the flow: *replicate*. A command goes in through [`Group::propose`], is appended to `ringtail-log`, is
//! committed once a quorum has it on disk, and comes out at the group's [`Machine`], on every replica in the same
//! order.
//!
//! Promises:
//! - A committed proposal is on disk at a quorum. One that failed says whether it may yet commit
//!   ([`RaftError::may_commit`]).
//! - A machine sees every committed entry after its floor exactly once and in order, also over restarts.
//! - The log is given up only below a floor that the machine has declared durable.
//! - Leaders are never restored without an election; see `options`.
//!
//! What it does not know: what a command means, who should be a member, and where a node lives: it is given a channel
//! to each.

mod applied_state;
mod blocking;
mod candidacy;
mod contact;
mod convert;
mod error;
mod failure;
mod group;
mod heartbeat;
mod leadership;
mod log_store;
mod machine;
mod machine_adapter;
mod membership;
mod options;
mod proposal;
mod raft_node;
mod read_entries;
mod responder;
mod runtime;
mod snapshot;
#[cfg(test)]
mod store_suite;
mod transport;
mod types;

pub use blocking::{block_inline_on_this_thread, spawn_blocking};
pub use error::RaftError;
pub use group::{Group, GroupMetrics};
pub use leadership::{Leadership, LeadershipWatch};
pub use machine::{Body, Committed, Floor, LogPosition, Machine, MachineError};
pub use membership::Members;
pub use options::RaftOptions;
pub use proposal::{Applied, Proposal};
pub use raft_node::{Peering, RaftNode};
pub use read_entries::read_entries;
pub use runtime::seed_timeouts_on_this_thread;
pub use snapshot::{SNAPSHOT_PART_BYTES_MAX, SnapshotPart, SnapshotSink, SnapshotSource, Staging};
pub use transport::{Channels, no_channels};

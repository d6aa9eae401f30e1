//! Why history could not be carried on.

use ringtail_archive::ArchiveError;
use ringtail_partition::PartitionError;
use ringtail_proto::{GroupId, LogIndex};

/// Why history could not be carried on; it is tried again, and nothing is lost meanwhile.
#[derive(Debug, thiserror::Error)]
pub enum HistoryError {
    /// The archive.
    #[error(transparent)]
    Archive(#[from] ArchiveError),
    /// The partition.
    #[error(transparent)]
    Partition(#[from] PartitionError),
    /// No peer has an object that this node needs.
    #[error("no peer gives object {path} of group {group}: {message}")]
    NoPeer {
        /// The group.
        group: GroupId,
        /// The object.
        path: String,
        /// What the last one said.
        message: String,
    },
    /// A change of the archive was proposed, and it is not known yet whether it holds.
    #[error("group {group} has not decided yet on a change of its archive")]
    Undecided {
        /// The group.
        group: GroupId,
    },
    /// The disk has no room for what should be archived; it goes on when there is.
    #[error(
        "the archive's disk is nearly full: {free_bytes} bytes are free and {needed_bytes} are needed; \
         make room or enlarge it, the log waits"
    )]
    NoRoom {
        /// Free bytes.
        free_bytes: u64,
        /// What has to be free before anything is written.
        needed_bytes: u64,
    },
    /// Events are asked for that this group has given up.
    #[error(
        "events of group {group} up to entry {through} are in no archive, and their log is given up"
    )]
    Gone {
        /// The group.
        group: GroupId,
        /// The last entry that is given up.
        through: LogIndex,
    },
    /// Events are asked for that only the archive has.
    #[error("the archive is not reached")]
    NotReached,
    /// The node stops.
    #[error("the node stops")]
    Stopping,
}

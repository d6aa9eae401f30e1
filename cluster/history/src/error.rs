//! Why history could not be carried on.

use ringtail_archive::ArchiveError;
use ringtail_partition::PartitionError;
use ringtail_proto::GroupId;

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
    /// The node stops.
    #[error("the node stops")]
    Stopping,
}

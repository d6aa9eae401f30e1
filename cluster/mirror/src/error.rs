//! Why the mirror could not be carried on.

use ringtail_checkpoint::{StoreError, cassandra::MirrorError};
use ringtail_partition::PartitionError;
use ringtail_proto::{GroupId, LogIndex};

/// Why the mirror of a group could not be carried on; it is tried again, and nothing is lost meanwhile.
#[derive(Debug, thiserror::Error)]
pub enum MirroringError {
    /// The mirror.
    #[error(transparent)]
    Mirror(#[from] MirrorError),
    /// The partition.
    #[error(transparent)]
    Partition(#[from] PartitionError),
    /// The rows here.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Term and index do not fit into a version.
    #[error("term {term} and index {index} make no version")]
    NoVersion {
        /// The term.
        term: u64,
        /// The index.
        index: LogIndex,
    },
    /// How far the mirror is was proposed, and it is not known yet whether it holds.
    #[error("group {group} has not decided yet how far its mirror is")]
    Undecided {
        /// The group.
        group: GroupId,
    },
    /// The node stops.
    #[error("the node stops")]
    Stopping,
}

impl MirroringError {
    /// True when no other write would fare better now.
    pub(crate) const fn is_outage(&self) -> bool {
        match self {
            Self::Mirror(error) => error.is_outage(),
            Self::Stopping => true,
            _ => false,
        }
    }
}

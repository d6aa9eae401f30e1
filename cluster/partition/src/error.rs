//! What a partition could not do.

use ringtail_checkpoint::StoreError;
use ringtail_proto::{ErrorKind, GroupId, LogIndex, SiteGeneration};
use ringtail_raft::{MachineError, RaftError};

use crate::SiteMachineError;

/// What a partition could not do.
#[derive(Clone, Debug, thiserror::Error)]
pub enum PartitionError {
    /// No partition of this group on this node, or none any more.
    #[error("group {0} is not on this node")]
    NotHere(GroupId),
    /// The partition is opened or closed right now.
    #[error("group {0} is opened or closed right now")]
    Changing(GroupId),
    /// The partition has no state yet: neither its log nor a snapshot has come.
    #[error("group {0} is not whole on this node")]
    NotWhole(GroupId),
    /// The generation is not there, or not yet or no longer.
    #[error("generation {} of site {} is not built on this node", .0.generation, .0.site)]
    NotBuilt(SiteGeneration),
    /// Entries came that do not follow on what was applied.
    #[error("group {group}: entry {index} does not follow on {applied:?}, the last applied")]
    Gap {
        /// The group.
        group: GroupId,
        /// The last applied entry.
        applied: Option<LogIndex>,
        /// The entry that came.
        index: LogIndex,
    },
    /// A site's rows are ahead of what was applied here since the start; ask again later.
    #[error("group {group} has applied {applied}, its site {site} is at {index} already")]
    Behind {
        /// The group.
        group: GroupId,
        /// The last applied entry.
        applied: LogIndex,
        /// The site.
        site: SiteGeneration,
        /// The last entry that the site's rows hold.
        index: LogIndex,
    },
    /// A snapshot could not be made or taken.
    #[error("snapshot of group {group}: {message}")]
    Snapshot {
        /// The group.
        group: GroupId,
        /// What is wrong.
        message: String,
    },
    /// Too many questions wait; ask again later.
    #[error("partition {group} has {questions_max} questions waiting")]
    Overloaded {
        /// The partition.
        group: GroupId,
        /// The limit.
        questions_max: usize,
    },
    /// The node stops.
    #[error("partition {0} is stopping")]
    Stopping(GroupId),
    /// A site could not do its part.
    #[error("site {site}: {error}")]
    Site {
        /// The site.
        site: SiteGeneration,
        /// What happened.
        error: SiteError,
    },
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The group's floor row cannot be read.
    #[error("floor of group {group} cannot be read: {message}")]
    FloorRow {
        /// The group.
        group: GroupId,
        /// What was found.
        message: String,
    },
    /// Raft did not take the floor.
    #[error("floor of group {group} was not taken: {message}")]
    Floor {
        /// The group.
        group: GroupId,
        /// What Raft said.
        message: String,
    },
    /// The log does not give what the archive or a build needs.
    #[error("log of group {group} cannot be read for the archive: {message}")]
    Log {
        /// The group.
        group: GroupId,
        /// What was found.
        message: String,
    },
    /// An entry was written by a newer binary, so it cannot be applied here.
    #[error("entry {index} of group {group}: {message}")]
    Entry {
        /// The group.
        group: GroupId,
        /// The entry.
        index: LogIndex,
        /// What was found.
        message: String,
    },
    /// Raft failed.
    #[error(transparent)]
    Raft(#[from] RaftError),
}

/// What a site's actor could not do.
#[derive(Clone, Debug, thiserror::Error)]
pub enum SiteError {
    /// The machine said no.
    #[error(transparent)]
    Machine(#[from] SiteMachineError),
    /// The store did not take the rows.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The machine panicked outside of apply.
    #[error("{stage} panicked: {message}")]
    Panicked {
        /// What it was doing.
        stage: &'static str,
        /// The panic's text.
        message: String,
    },
    /// The machine answered another number of verdicts than there were events.
    #[error("entry {index}: {found} verdicts for {expected} events")]
    Verdicts {
        /// The entry.
        index: LogIndex,
        /// Verdicts.
        found: usize,
        /// Events.
        expected: usize,
    },
    /// The log that the site needs to be rebuilt is not there.
    #[error("log {from}..={to} is needed to rebuild the site: {message}")]
    Log {
        /// First entry needed.
        from: LogIndex,
        /// Last entry needed.
        to: LogIndex,
        /// What is wrong.
        message: String,
    },
}

impl SiteError {
    /// The entry cannot be applied, whoever tries.
    pub(crate) const fn is_poison(&self) -> bool {
        matches!(
            self,
            Self::Panicked { .. } | Self::Machine(SiteMachineError::Poisoned { .. })
        )
    }

    /// Asked again, the site may do it: the disk did not give what was needed.
    pub(crate) const fn is_transient(&self) -> bool {
        matches!(
            self,
            Self::Machine(SiteMachineError::Read(_)) | Self::Log { .. }
        )
    }
}

impl PartitionError {
    /// The kind shown at interfaces.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::NotHere(_)
            | Self::Changing(_)
            | Self::NotWhole(_)
            | Self::NotBuilt(_)
            | Self::Stopping(_)
            | Self::Behind { .. }
            | Self::Floor { .. } => ErrorKind::Unavailable,
            Self::Overloaded { .. } => ErrorKind::Overloaded,
            Self::Site {
                error: SiteError::Store(error),
                ..
            }
            | Self::Store(error) => error.kind(),
            Self::Raft(error) => error.kind(),
            Self::Site { .. }
            | Self::FloorRow { .. }
            | Self::Entry { .. }
            | Self::Log { .. }
            | Self::Gap { .. }
            | Self::Snapshot { .. } => ErrorKind::Internal,
        }
    }
}

impl From<PartitionError> for MachineError {
    fn from(error: PartitionError) -> Self {
        Self::new(error)
    }
}

//! What can go wrong with a group.

use ringtail_log::LogError;
use ringtail_proto::{ErrorKind, GroupId, NodeId};

use crate::machine::{LogPosition, MachineError};

/// Why a group could not do what it was asked. [`RaftError::may_commit`] says whether a failed proposal may yet commit.
#[derive(Clone, Debug, thiserror::Error)]
pub enum RaftError {
    /// Another node leads the group, or nobody does. Nothing was written.
    #[error("not the leader of group {group}{}", leader.map(|node| format!(", node {node} is")).unwrap_or_default())]
    NotLeader {
        /// The group.
        group: GroupId,
        /// The leader, if it is known.
        leader: Option<NodeId>,
    },
    /// The command is over the limit. Nothing was written.
    #[error("command of {bytes} bytes is over the limit of {bytes_max}")]
    CommandTooLarge {
        /// Its size.
        bytes: usize,
        /// The limit.
        bytes_max: usize,
    },
    /// The disk is full. Nothing was written.
    #[error("disk is full, the log takes nothing now")]
    StorageFull,
    /// The group has stopped. Nothing was written.
    #[error("group {group} has stopped: {cause}")]
    Stopped {
        /// The group.
        group: GroupId,
        /// Why.
        cause: String,
    },
    /// The outcome is unknown: the command may have committed, or may yet.
    #[error("outcome in group {group} is unknown: {cause}")]
    InDoubt {
        /// The group.
        group: GroupId,
        /// Why.
        cause: String,
    },
    /// This node leads, but cannot reach a quorum.
    #[error("group {group} has no quorum: {cause}")]
    NoQuorum {
        /// The group.
        group: GroupId,
        /// Why.
        cause: String,
    },
    /// The members could not be changed now.
    #[error("members of group {group} are not changed: {cause}")]
    Membership {
        /// The group.
        group: GroupId,
        /// Why.
        cause: String,
    },
    /// The floor would be above what was applied.
    #[error("floor {floor} of group {group} is above what was applied")]
    FloorNotApplied {
        /// The group.
        group: GroupId,
        /// The floor.
        floor: LogPosition,
    },
    /// The log gave up entries that the machine no longer has: its store was lost or replaced by an older one.
    #[error("state of group {group} is missing: log starts after {purged}, state ends at {}",
        floor.map_or("nothing".to_owned(), |floor| floor.to_string()))]
    StateMissing {
        /// The group.
        group: GroupId,
        /// What the machine has.
        floor: Option<LogPosition>,
        /// Up to where the log was given up.
        purged: LogPosition,
    },
    /// The machine has entries that the log never held: segments were lost or replaced by older ones.
    #[error("log of group {group} is missing: state goes up to {floor}, log ends at {}",
        last.map_or("nothing".to_owned(), |last| last.to_string()))]
    LogMissing {
        /// The group.
        group: GroupId,
        /// What the machine has.
        floor: LogPosition,
        /// Where the log ends.
        last: Option<LogPosition>,
    },
    /// The group is open already.
    #[error("group {0} is open already")]
    AlreadyOpen(GroupId),
    /// A limit in the options makes no sense.
    #[error("raft option {option} is invalid: {reason}")]
    InvalidOption {
        /// Name of the option.
        option: &'static str,
        /// What is wrong.
        reason: String,
    },
    /// Stored bytes of this crate cannot be read.
    #[error("stored {what} cannot be read: {reason}")]
    Format {
        /// Which bytes.
        what: &'static str,
        /// Why not.
        reason: String,
    },
    /// The machine failed.
    #[error("machine of group {group}: {source}")]
    Machine {
        /// The group.
        group: GroupId,
        /// Its error.
        source: MachineError,
    },
    /// The log failed.
    #[error(transparent)]
    Log(#[from] LogError),
}

impl RaftError {
    /// True when a proposal that got this error may have committed or may yet; retry only with the same ids.
    #[must_use]
    pub fn may_commit(&self) -> bool {
        matches!(self, Self::InDoubt { .. })
    }

    /// The kind that crosses interfaces.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::NotLeader { .. }
            | Self::Stopped { .. }
            | Self::NoQuorum { .. }
            | Self::Membership { .. } => ErrorKind::Unavailable,
            Self::CommandTooLarge { .. } => ErrorKind::TooLarge,
            Self::StorageFull | Self::Log(LogError::NoSpace(_)) => ErrorKind::StorageFull,
            Self::InDoubt { .. } => ErrorKind::InDoubt,
            Self::FloorNotApplied { .. }
            | Self::StateMissing { .. }
            | Self::LogMissing { .. }
            | Self::AlreadyOpen(_)
            | Self::InvalidOption { .. }
            | Self::Format { .. }
            | Self::Machine { .. }
            | Self::Log(_) => ErrorKind::Internal,
        }
    }
}

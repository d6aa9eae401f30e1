//! Why events did not get into a log.

use ringtail_proto::{ErrorKind, GroupId, NodeId, SiteId};

/// Why events did not get into a log, or why that is unknown.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RouteError {
    /// The submission has more events or bytes than an entry may have.
    #[error(
        "submission of {events} events and {bytes} bytes is over the limit of {events_max} events and {bytes_max} bytes"
    )]
    TooLarge {
        /// Its events.
        events: usize,
        /// Its bytes.
        bytes: usize,
        /// The limit on events.
        events_max: usize,
        /// The limit on bytes.
        bytes_max: usize,
    },
    /// The site has as many events on their way as it may; others go on.
    #[error("site {site} has {events_max} events on their way, the most it may")]
    SiteBusy {
        /// The site.
        site: SiteId,
        /// The limit.
        events_max: usize,
    },
    /// The node has as many bytes on their way as it may.
    #[error("{bytes_max} bytes are on their way, the most there may be")]
    BytesBusy {
        /// The limit.
        bytes_max: usize,
    },
    /// The group has as many submissions waiting as it may.
    #[error("group {group} has {submissions_max} submissions waiting, the most it may")]
    GroupBusy {
        /// The group.
        group: GroupId,
        /// The limit.
        submissions_max: usize,
    },
    /// The disk is near its limit.
    #[error("the disk is near its limit")]
    StorageFull,
    /// The node stops.
    #[error("the node is stopping")]
    Stopping,
    /// Another node leads the group, or nobody does. Nothing was written.
    #[error("this node does not lead group {group}{}", leader.map(|node| format!(", node {node} does")).unwrap_or_default())]
    NotLeader {
        /// The group.
        group: GroupId,
        /// The leader, if it is known.
        leader: Option<NodeId>,
    },
    /// The group cannot be reached. Nothing was written.
    #[error("group {group} is not available: {message}")]
    Unavailable {
        /// The group.
        group: GroupId,
        /// What the group said.
        message: String,
    },
    /// The write may have committed, or may yet.
    #[error("whether group {group} takes the write is unknown: {message}")]
    InDoubt {
        /// The group.
        group: GroupId,
        /// What the group said.
        message: String,
    },
    /// The group refused the entry. Nothing was written.
    #[error("group {group} refused the entry: {message}")]
    Refused {
        /// The group.
        group: GroupId,
        /// What the group said.
        message: String,
    },
    /// The group has no quorum and the spool has no room. Nothing was written.
    #[error("group {group} has no quorum and the spool is at its limit of {bytes_max} bytes")]
    SpoolFull {
        /// The group.
        group: GroupId,
        /// The limit.
        bytes_max: u64,
    },
    /// The group has no quorum and the spool's disk failed. Nothing was acknowledged.
    #[error("group {group} has no quorum and the spool could not take the events: {message}")]
    SpoolFailed {
        /// The group.
        group: GroupId,
        /// What the disk said.
        message: String,
    },
    /// The spool's directory cannot be used.
    #[error("the spool cannot be opened: {0}")]
    SpoolUnusable(String),
    /// The events are in the log, but the answer of apply is not one verdict for each.
    #[error("group {group} answered {replies} verdicts to {events} events")]
    MalformedReply {
        /// The group.
        group: GroupId,
        /// Events of the entry.
        events: usize,
        /// Bytes of the reply.
        replies: usize,
    },
    /// A bound of the router makes no sense.
    #[error("router option {option} is {value}, it has to be at least {floor}")]
    InvalidOption {
        /// Name of the option.
        option: &'static str,
        /// Its value.
        value: usize,
        /// The least it may be.
        floor: usize,
    },
    /// A slot belongs to a group for which there is no log.
    #[error("group {0} has slots but no log")]
    UnknownGroup(GroupId),
}

impl RouteError {
    /// The kind that interfaces answer with.
    #[must_use]
    pub const fn kind(&self) -> ErrorKind {
        match self {
            Self::TooLarge { .. } => ErrorKind::TooLarge,
            Self::SiteBusy { .. } => ErrorKind::RateLimited,
            Self::BytesBusy { .. } | Self::GroupBusy { .. } | Self::SpoolFull { .. } => {
                ErrorKind::Overloaded
            }
            Self::StorageFull => ErrorKind::StorageFull,
            Self::Stopping
            | Self::NotLeader { .. }
            | Self::Unavailable { .. }
            | Self::SpoolFailed { .. } => ErrorKind::Unavailable,
            Self::InDoubt { .. } => ErrorKind::InDoubt,
            Self::Refused { .. }
            | Self::SpoolUnusable(_)
            | Self::MalformedReply { .. }
            | Self::InvalidOption { .. }
            | Self::UnknownGroup(_) => ErrorKind::Internal,
        }
    }

    /// True when the write may be in the log, now or later, although it failed: retry with the same event ids only.
    #[must_use]
    pub const fn may_commit(&self) -> bool {
        matches!(self, Self::InDoubt { .. } | Self::MalformedReply { .. })
    }
}

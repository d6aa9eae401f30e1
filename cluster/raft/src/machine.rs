//! The seam between a group's log and the state that is built from it.

use std::cmp::Ordering;
use std::fmt;

use async_trait::async_trait;
use bytes::Bytes;
use ringtail_proto::{LogIndex, NodeId};
use serde::{Deserialize, Serialize};

use crate::snapshot::{SnapshotSink, SnapshotSource};

/// Where an entry stands in its group's log, and under which leader it was proposed. Ordered by index.
///
/// Of two committed entries the one with the higher index has the higher or equal term, so index order is log order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct LogPosition {
    /// Term of the leader that proposed the entry.
    pub term: u64,
    /// That leader.
    pub node: NodeId,
    /// Index of the entry.
    pub index: LogIndex,
}

impl Ord for LogPosition {
    fn cmp(&self, other: &Self) -> Ordering {
        let key = |position: &Self| (position.index, position.term, position.node);
        key(self).cmp(&key(other))
    }
}

impl PartialOrd for LogPosition {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl fmt::Display for LogPosition {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}@T{}-N{}", self.index, self.term, self.node)
    }
}

/// What a machine has on disk.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Floor {
    /// State up to and including this entry is durable; `None` when there is none.
    pub position: Option<LogPosition>,
    /// The bytes of the last [`Body::Membership`] that was applied, as they came. They may be of a later entry than
    /// `position`, never of an earlier one if there was one in between.
    pub membership: Option<Bytes>,
}

/// An entry that a quorum holds on disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Committed {
    /// Where it stands.
    pub position: LogPosition,
    /// What it says.
    pub body: Body,
}

/// What an entry says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Body {
    /// Nothing; a new leader starts with one.
    Blank,
    /// A command, as it was proposed.
    Command(Bytes),
    /// Who is in the group from here on. Opaque; a machine stores the last one beside its floor.
    Membership(Bytes),
}

impl Body {
    /// Size of what it carries, in bytes.
    pub(crate) fn bytes(&self) -> usize {
        match self {
            Self::Blank => 0,
            Self::Command(bytes) | Self::Membership(bytes) => bytes.len(),
        }
    }
}

/// Why a machine could not go on. The group stops then: what comes next would be applied to a wrong state.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{0}")]
pub struct MachineError(String);

impl MachineError {
    /// An error with this text.
    #[must_use]
    pub fn new(text: impl fmt::Display) -> Self {
        Self(text.to_string())
    }
}

/// Builds state from a group's committed entries.
///
/// Calls never overlap, except that [`Machine::floor`] is only called before the first [`Machine::apply`].
#[async_trait]
pub trait Machine: Send + Sync + 'static {
    /// What is on disk when the group is opened. Entries after it that are known to be committed are applied before
    /// [`RaftNode::open_group`](crate::RaftNode::open_group) returns, the others once a leader is elected.
    async fn floor(&self) -> Result<Floor, MachineError>;

    /// Applies entries in log order, each exactly once since the floor. The effect need not be durable on return;
    /// [`Group::raise_floor`](crate::Group::raise_floor) says when it is.
    ///
    /// Returns one reply for each entry, empty for blanks and memberships.
    async fn apply(&self, entries: Vec<Committed>) -> Result<Vec<Bytes>, MachineError>;

    /// A consistent view of what is durable, for a replica that has fallen behind the log, and how far it goes. Single
    /// rows may be ahead of that, if applying the entries in between to them again changes nothing.
    async fn snapshot(&self) -> Result<(Floor, Box<dyn SnapshotSource>), MachineError>;

    /// Takes the place of everything the machine holds, in memory and on disk. Nothing is applied until the sink is
    /// finished or dropped.
    async fn receive_snapshot(&self) -> Result<Box<dyn SnapshotSink>, MachineError>;
}

//! Positions, votes and entries: what the log stores, free of any consensus library's types.

use std::fmt;

use bytes::Bytes;
use ringtail_proto::{LogIndex, NodeId};

/// Where an entry stands in its group's log, and under which leader it was proposed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position {
    /// Term of the leader that proposed the entry.
    pub term: u64,
    /// That leader.
    pub node: NodeId,
    /// Index of the entry.
    pub index: LogIndex,
}

impl fmt::Display for Position {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}@T{}-N{}", self.index, self.term, self.node)
    }
}

/// A vote of this node in one group: durable before it is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Vote {
    /// Term that was voted in.
    pub term: u64,
    /// Candidate that was voted for.
    pub node: NodeId,
    /// True when the candidate is known to have won.
    pub is_committed: bool,
}

/// One entry of a group's log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Where it stands.
    pub position: Position,
    /// What the payload is; the log only carries it.
    pub tag: u8,
    /// The bytes; the log only carries them.
    pub payload: Bytes,
}

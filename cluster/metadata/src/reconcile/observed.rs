//! A group as its leader sees it, at one moment.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use ringtail_proto::{GroupId, LogIndex, NodeId};

use super::LogBounds;
use crate::METADATA_GROUP;

/// Everything that decides over the next step with a group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Observed {
    /// The group.
    pub group: GroupId,
    /// The node that looks, and leads.
    pub node: NodeId,
    /// Those whose acknowledgement counts.
    pub voters: BTreeSet<NodeId>,
    /// Those that only receive.
    pub learners: BTreeSet<NodeId>,
    /// For how long a change of members has been under way that nobody here is waiting for; none when there is none.
    pub changing_for: Option<Duration>,
    /// How far each member's log matches; absent when that is unknown.
    pub matched: BTreeMap<NodeId, LogIndex>,
    /// The leader's log.
    pub log: LogBounds,
    /// The voters to be, the preferred leader first.
    pub target: Vec<NodeId>,
    /// All nodes that may have a replica.
    pub hosts: BTreeSet<NodeId>,
    /// True when the metadata know that the group has arrived.
    pub is_settled: bool,
    /// Nodes that should not lead: they are being drained, or not well.
    pub unfit: BTreeSet<NodeId>,
    /// For how long each other node has been connected; absent while it is not.
    pub links: BTreeMap<NodeId, Duration>,
    /// Since this node leads, or last tried to give leadership away.
    pub since_transfer: Duration,
}

impl Observed {
    pub(super) fn goal(&self) -> BTreeSet<NodeId> {
        self.target.iter().copied().collect()
    }

    /// Who should receive without a vote: everybody of the metadata, nobody of a partition.
    pub(super) fn learners_to_be(&self) -> BTreeSet<NodeId> {
        match self.group {
            METADATA_GROUP => self.hosts.difference(&self.goal()).copied().collect(),
            _ => BTreeSet::new(),
        }
    }

    pub(super) fn is_up(&self, node: NodeId) -> bool {
        node == self.node || self.links.contains_key(&node)
    }

    /// True when the node has a whole state and lacks few entries: a snapshot counts only once it is complete, as the
    /// log matches nothing before.
    pub(super) fn is_close(&self, node: NodeId, lag_entries_max: u64) -> bool {
        if node == self.node {
            return true;
        }
        let Some(matched) = self.matched.get(&node) else {
            return false;
        };
        *matched >= self.log.purged && self.log.last.0.saturating_sub(matched.0) <= lag_entries_max
    }
}

//! Where the replicas of a group are, and where they should be.

use std::collections::BTreeSet;

use ringtail_proto::{GroupId, NodeId};
use serde::{Deserialize, Serialize};

use crate::METADATA_GROUP;

/// Where the replicas of one group are, and where they should be.
///
/// A node hosts the group exactly while it is in `hosts`. That is more than it seems to need during a move, never less:
/// a voter that gave its replica up too early would have forgotten what it acknowledged.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupPlacement {
    /// The voters to be, the preferred leader first.
    pub target: Vec<NodeId>,
    /// All nodes that may have a replica, in order.
    pub hosts: Vec<NodeId>,
    /// The voters when the group was last settled, in order.
    pub voters: Vec<NodeId>,
    /// Counts the moves, so that word of an earlier one's end is told from this one's.
    pub revision: u64,
    /// True when the group was sent elsewhere before it had arrived: nobody but its leader knows who votes by now.
    pub is_diverted: bool,
}

impl GroupPlacement {
    /// A group that one node holds alone.
    #[must_use]
    pub fn alone(node: NodeId) -> Self {
        Self {
            target: vec![node],
            hosts: vec![node],
            voters: vec![node],
            revision: 0,
            is_diverted: false,
        }
    }

    /// True when the voters are those that should be, and nobody else may have a replica; of the metadata everybody
    /// has one.
    #[must_use]
    pub fn is_settled(&self, group: GroupId) -> bool {
        let target = set_of(&self.target);
        let is_alone = group == METADATA_GROUP || set_of(&self.hosts) == target;
        set_of(&self.voters) == target && is_alone
    }

    /// The same group on its way to another target. Whoever was to hold it before may hold it already.
    #[must_use]
    pub(crate) fn moved_to(&self, group: GroupId, target: Vec<NodeId>) -> Self {
        let mut hosts = set_of(&self.hosts);
        hosts.extend(&target);
        Self {
            target,
            hosts: hosts.into_iter().collect(),
            voters: self.voters.clone(),
            revision: self.revision + 1,
            is_diverted: !self.is_settled(group),
        }
    }

    /// The same group at its target.
    #[must_use]
    pub(crate) fn settled(&self) -> Self {
        let voters: Vec<NodeId> = set_of(&self.target).into_iter().collect();
        Self {
            target: self.target.clone(),
            hosts: voters.clone(),
            voters,
            revision: self.revision,
            is_diverted: false,
        }
    }

    /// The preferred leader.
    #[must_use]
    pub fn preferred(&self) -> Option<NodeId> {
        self.target.first().copied()
    }
}

pub(crate) fn set_of(nodes: &[NodeId]) -> BTreeSet<NodeId> {
    nodes.iter().copied().collect()
}

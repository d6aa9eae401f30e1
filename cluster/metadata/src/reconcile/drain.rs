//! How far a node's drain has come.

use std::{collections::BTreeMap, fmt};

use ringtail_proto::{GroupId, NodeId};

use crate::{METADATA_GROUP, PlacementMap};

/// What is still on a node that should hold nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DrainProgress {
    /// Groups of which it has or may have a replica. Of the metadata only a vote counts: every node has a copy.
    pub replicas: Vec<GroupId>,
    /// Groups that it leads.
    pub leads: Vec<GroupId>,
}

impl DrainProgress {
    /// True when the node can be stopped and nobody will miss it.
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.replicas.is_empty() && self.leads.is_empty()
    }
}

impl fmt::Display for DrainProgress {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (replicas, leads) = (self.replicas.len(), self.leads.len());
        write!(
            formatter,
            "replicas left: {replicas}, leaders left: {leads}"
        )
    }
}

/// What is still on `node`.
#[must_use]
pub fn drain_progress(
    node: NodeId,
    placement: &PlacementMap,
    leaders: &BTreeMap<GroupId, NodeId>,
) -> DrainProgress {
    let holds = |group: GroupId| {
        placement.get(&group).is_some_and(|place| match group {
            METADATA_GROUP => place.voters.contains(&node) || place.target.contains(&node),
            _ => place.hosts.contains(&node),
        })
    };
    let replicas = placement.keys().copied().filter(|group| holds(*group));
    let leads = leaders.iter().filter(|(_, leader)| **leader == node);
    DrainProgress {
        replicas: replicas.collect(),
        leads: leads.map(|(group, _)| *group).collect(),
    }
}

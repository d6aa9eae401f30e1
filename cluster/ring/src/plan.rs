//! The way from one placement to another.

use std::fmt;

use ringtail_proto::{GroupId, NodeId};

use crate::Placement;

/// What has to change so that one placement becomes another; computed and shown before anything is done.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PlacementPlan {
    /// Groups whose nodes change, by group.
    pub moves: Vec<GroupMove>,
}

/// The change of one group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupMove {
    /// The group.
    pub group: GroupId,
    /// Nodes that get a replica.
    pub add: Vec<NodeId>,
    /// Nodes that lose theirs, after the new ones have caught up.
    pub remove: Vec<NodeId>,
    /// Nodes that hold the group when the move is done, the preferred leader first.
    pub target: Vec<NodeId>,
}

impl PlacementPlan {
    /// The changes from `current` to `target`: of nodes, or of the leader alone. Groups that only `current` has stay as
    /// they are.
    #[must_use]
    pub fn between(current: &Placement, target: &Placement) -> Self {
        let mut moves = Vec::new();
        for (group, wanted) in &target.groups {
            let held = current.groups.get(group).map_or(&[][..], Vec::as_slice);
            let add = without(wanted, held);
            let remove = without(held, wanted);
            if !add.is_empty() || !remove.is_empty() || held.first() != wanted.first() {
                moves.push(GroupMove {
                    group: *group,
                    add,
                    remove,
                    target: wanted.clone(),
                });
            }
        }
        Self { moves }
    }

    /// True when everything is in its place.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.moves.is_empty()
    }

    /// Replicas that have to be copied.
    #[must_use]
    pub fn copies(&self) -> usize {
        self.moves.iter().map(|change| change.add.len()).sum()
    }
}

fn without(nodes: &[NodeId], others: &[NodeId]) -> Vec<NodeId> {
    nodes
        .iter()
        .filter(|node| !others.contains(node))
        .copied()
        .collect()
}

impl fmt::Display for PlacementPlan {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_empty() {
            return formatter.write_str("nothing to move");
        }
        let (groups, copies) = (self.moves.len(), self.copies());
        write!(formatter, "groups to change: {groups}, copies: {copies}")?;
        for change in &self.moves {
            write!(formatter, "\n  {change}")?;
        }
        Ok(())
    }
}

impl fmt::Display for GroupMove {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "group {}:", self.group)?;
        for node in &self.add {
            write!(formatter, " +{node}")?;
        }
        for node in &self.remove {
            write!(formatter, " -{node}")?;
        }
        if self.add.is_empty() && self.remove.is_empty() {
            formatter.write_str(" another leader")?;
        }
        let target: Vec<String> = self.target.iter().map(ToString::to_string).collect();
        write!(formatter, " -> {}", target.join(","))
    }
}

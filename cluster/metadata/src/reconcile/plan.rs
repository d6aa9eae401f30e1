//! Where groups should go, and which of them go now.

use std::{collections::BTreeSet, fmt, sync::Arc};

use ringtail_proto::{GroupId, NodeId};
use ringtail_ring::{
    GroupMove, Placement, PlacementOptions, PlacementPlan, RingNode, replication_factor,
};

use crate::{METADATA_GROUP, Node, PlacementMap};

/// Voters of the metadata; all other nodes receive them without a vote.
pub(crate) const METADATA_VOTERS_MAX: usize = 3;

/// Bounds of a plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PlanOptions {
    /// How partitions are placed.
    pub placement: PlacementOptions,
    /// Groups on their way at once. Default 4: copying shares disk and network with visitors.
    pub moves_max: usize,
}

impl Default for PlanOptions {
    fn default() -> Self {
        Self {
            placement: PlacementOptions::default(),
            moves_max: 4,
        }
    }
}

/// What has to change until every group is where it should be.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReconcilePlan {
    /// All that has to change.
    pub all: PlacementPlan,
    /// Of that, what begins now.
    pub next: Vec<GroupMove>,
    /// Groups on their way.
    pub unsettled: Vec<GroupId>,
}

impl ReconcilePlan {
    /// True when every group is where it should be.
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.all.is_empty() && self.unsettled.is_empty()
    }
}

impl fmt::Display for ReconcilePlan {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}", self.all)?;
        write!(formatter, "\non their way: {}", list(&self.unsettled))?;
        let next: Vec<GroupId> = self.next.iter().map(|change| change.group).collect();
        write!(formatter, "\nto begin now: {}", list(&next))
    }
}

fn list(groups: &[GroupId]) -> String {
    if groups.is_empty() {
        return "none".to_owned();
    }
    let groups: Vec<String> = groups.iter().map(ToString::to_string).collect();
    groups.join(",")
}

/// Plans: groups are placed on active nodes only. A function of its arguments alone.
#[must_use]
pub fn plan(nodes: &[Arc<Node>], placement: &PlacementMap, options: &PlanOptions) -> ReconcilePlan {
    let active: Vec<&Arc<Node>> = nodes.iter().filter(|node| node.is_active()).collect();
    if active.is_empty() {
        return ReconcilePlan::default();
    }
    let wanted = wanted(&active, placement, options);
    let current = Placement {
        groups: placement
            .iter()
            .map(|(group, place)| (*group, place.target.clone()))
            .collect(),
    };
    let all = PlacementPlan::between(&current, &wanted);
    let unsettled: Vec<GroupId> = placement
        .iter()
        .filter(|(group, place)| !place.is_settled(**group))
        .map(|(group, _)| *group)
        .collect();
    let active = active.iter().map(|node| node.id).collect();
    let next = begin(&all, placement, &active, &unsettled, options.moves_max);
    ReconcilePlan {
        all,
        next,
        unsettled,
    }
}

fn wanted(active: &[&Arc<Node>], placement: &PlacementMap, options: &PlanOptions) -> Placement {
    let ring: Vec<RingNode> = active
        .iter()
        .map(|node| RingNode::new(node.id).in_zone(&node.zone))
        .collect();
    let partitions: Vec<GroupId> = placement
        .keys()
        .copied()
        .filter(|group| *group != METADATA_GROUP)
        .collect();
    let mut wanted = Placement::compute(&partitions, &ring, &options.placement);
    if let Some(place) = placement.get(&METADATA_GROUP) {
        let voters = metadata_voters(active, &place.target);
        wanted.groups.insert(METADATA_GROUP, voters);
    }
    wanted
}

/// The metadata stay where they are as far as they can; others come in by zone, then by age.
fn metadata_voters(active: &[&Arc<Node>], current: &[NodeId]) -> Vec<NodeId> {
    let count = replication_factor(active.len(), METADATA_VOTERS_MAX);
    let find = |id: &NodeId| active.iter().find(|node| node.id == *id);
    let mut chosen: Vec<&Arc<Node>> = current.iter().filter_map(find).copied().collect();
    chosen.truncate(count);
    while chosen.len() < count {
        let is_free = |node: &&&Arc<Node>| chosen.iter().all(|other| other.id != node.id);
        let shares_zone = |node: &Node| {
            !node.zone.is_empty() && chosen.iter().any(|other| other.zone == node.zone)
        };
        let free = active.iter().filter(is_free);
        let Some(next) = free.min_by_key(|node| (shares_zone(node), node.id)) else {
            break;
        };
        chosen.push(next);
    }
    chosen.iter().map(|node| node.id).collect()
}

/// What begins now: what has to leave a node first, the metadata before partitions, copies before changes of leader. A
/// group on its way is sent elsewhere only when it cannot arrive.
fn begin(
    all: &PlacementPlan,
    placement: &PlacementMap,
    active: &BTreeSet<NodeId>,
    unsettled: &[GroupId],
    moves_max: usize,
) -> Vec<GroupMove> {
    let is_stranded = |group: GroupId| {
        let place = placement.get(&group);
        place.is_some_and(|place| place.target.iter().any(|node| !active.contains(node)))
    };
    let mut moves: Vec<&GroupMove> = all.moves.iter().collect();
    moves.sort_by_key(|change| {
        let is_copy = !change.add.is_empty() || !change.remove.is_empty();
        (!is_stranded(change.group), !is_copy, change.group)
    });
    let mut room = moves_max.saturating_sub(unsettled.len());
    let mut next = Vec::new();
    for change in moves {
        let is_on_its_way = unsettled.contains(&change.group);
        if is_on_its_way && is_stranded(change.group) {
            next.push(change.clone());
        } else if !is_on_its_way && room > 0 {
            room -= 1;
            next.push(change.clone());
        }
    }
    next
}

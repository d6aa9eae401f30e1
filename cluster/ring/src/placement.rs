//! Which nodes should hold which group.

use std::{
    collections::BTreeMap,
    hash::{Hash, Hasher},
};

use consistent_hash::{Node, RingHash, StaticHashRing};
use ringtail_proto::{GroupId, NodeId};
use xxhash_rust::xxh3::Xxh3;

use crate::RingNode;

/// How groups are placed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PlacementOptions {
    /// The most replicas of a group. Default 3.
    pub replicas_max: usize,
    /// Points of a node on the ring. Default 128: the spread of load falls with their root.
    pub points_per_node: usize,
    /// The most replicas on a node, in percent of the mean. Default 125 (consistent hashing with bounded loads).
    pub load_percent_max: usize,
}

impl Default for PlacementOptions {
    fn default() -> Self {
        Self {
            replicas_max: 3,
            points_per_node: 128,
            load_percent_max: 125,
        }
    }
}

/// The nodes of each group, the preferred leader first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Placement {
    /// Replica nodes by group.
    pub groups: BTreeMap<GroupId, Vec<NodeId>>,
}

impl Placement {
    /// Places groups on nodes: each group takes the nodes that follow it on the ring, passing those that are full and,
    /// while other zones are left, those of a zone it has already. A function of its arguments alone.
    ///
    /// The number of replicas is the largest odd number up to `replicas_max` and the number of nodes.
    #[must_use]
    pub fn compute(groups: &[GroupId], nodes: &[RingNode], options: &PlacementOptions) -> Self {
        let mut nodes = nodes.to_vec();
        nodes.sort();
        nodes.dedup_by_key(|node| node.id);
        let replicas = replication_factor(nodes.len(), options.replicas_max);
        if replicas == 0 {
            return Self::default();
        }
        let points = options.points_per_node.max(1);
        let ring = StaticHashRing::new(
            Xxh3Ring,
            nodes
                .iter()
                .map(|node| Node::new(node.id.0).value(node).quantity(points)),
        );
        let mut groups = groups.to_vec();
        groups.sort_unstable();
        groups.dedup();
        let total = groups.len() * replicas;
        let load_max = (total * options.load_percent_max.max(100)).div_ceil(100 * nodes.len());
        let mut chooser = Chooser {
            loads: BTreeMap::new(),
            load_max,
            replicas,
        };
        let place = |group: GroupId| {
            let candidates: Vec<&RingNode> = ring
                .calc_candidates(&group.0)
                .map(|node| node.value)
                .collect();
            (group, chooser.choose(&candidates))
        };
        let mut placement = Self {
            groups: groups.into_iter().map(place).collect(),
        };
        placement.balance_leaders();
        placement
    }

    /// The number of groups that each node is to lead.
    #[must_use]
    pub fn leaders(&self) -> BTreeMap<NodeId, usize> {
        let mut leaders = BTreeMap::new();
        for node in self.groups.values().filter_map(|nodes| nodes.first()) {
            *leaders.entry(*node).or_default() += 1;
        }
        leaders
    }

    /// Hands groups from leaders of many to replicas that lead few, until no such change helps. Each makes the sum of
    /// squares smaller, so that it ends.
    fn balance_leaders(&mut self) {
        let mut leaders = self.leaders();
        loop {
            let mut has_changed = false;
            for nodes in self.groups.values_mut() {
                has_changed |= hand_over(nodes, &mut leaders);
            }
            if !has_changed {
                return;
            }
        }
    }

    /// The number of replicas on each node.
    #[must_use]
    pub fn loads(&self) -> BTreeMap<NodeId, usize> {
        let mut loads = BTreeMap::new();
        for node in self.groups.values().flatten() {
            *loads.entry(*node).or_default() += 1;
        }
        loads
    }
}

/// Puts the replica that leads least in front, if that brings the two closer to each other.
fn hand_over(nodes: &mut [NodeId], leaders: &mut BTreeMap<NodeId, usize>) -> bool {
    let leads = |node: &NodeId| leaders.get(node).copied().unwrap_or_default();
    let Some(first) = nodes.first().copied() else {
        return false;
    };
    let fewest = nodes.iter().copied().min_by_key(|node| leads(node));
    let Some(next) = fewest.filter(|node| leads(&first) > leads(node) + 1) else {
        return false;
    };
    *leaders.entry(first).or_default() -= 1;
    *leaders.entry(next).or_default() += 1;
    if let Some(place) = nodes.iter().position(|node| *node == next) {
        nodes.swap(0, place);
    }
    true
}

/// The largest odd number up to both: an even number of voters bears no more failures than one less.
#[must_use]
pub const fn replication_factor(nodes: usize, replicas_max: usize) -> usize {
    let most = if nodes < replicas_max {
        nodes
    } else {
        replicas_max
    };
    if most == 0 {
        return 0;
    }
    most - 1 + most % 2
}

struct Chooser {
    loads: BTreeMap<NodeId, usize>,
    load_max: usize,
    replicas: usize,
}

impl Chooser {
    /// Takes the first candidates that fit. Each pass asks for less: a new zone and room, then room, then a node.
    fn choose(&mut self, candidates: &[&RingNode]) -> Vec<NodeId> {
        let mut chosen: Vec<&RingNode> = Vec::with_capacity(self.replicas);
        for (needs_zone, needs_room) in [(true, true), (false, true), (false, false)] {
            for candidate in candidates {
                if chosen.len() == self.replicas {
                    break;
                }
                let is_taken = chosen.iter().any(|other| other.id == candidate.id);
                let shares_zone = chosen.iter().any(|other| other.shares_zone_with(candidate));
                let is_full = self.load(candidate.id) >= self.load_max;
                let is_passed = is_taken || (needs_zone && shares_zone) || (needs_room && is_full);
                if !is_passed {
                    chosen.push(candidate);
                }
            }
        }
        for node in &chosen {
            *self.loads.entry(node.id).or_default() += 1;
        }
        chosen.into_iter().map(|node| node.id).collect()
    }

    fn load(&self, node: NodeId) -> usize {
        self.loads.get(&node).copied().unwrap_or_default()
    }
}

/// Positions on the ring by xxh3: the same on every node and in every version.
struct Xxh3Ring;

impl RingHash for Xxh3Ring {
    fn hash_item<T: Hash>(&self, item: &T) -> u64 {
        let mut hasher = Xxh3::new();
        item.hash(&mut hasher);
        hasher.finish()
    }
}

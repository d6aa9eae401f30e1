//! What the planner makes of nodes and places.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test may fail by panic"
)]

use std::{collections::BTreeSet, sync::Arc};

use ringtail_metadata::{
    GroupPlacement, METADATA_GROUP, Node, NodeAddresses, NodeState, PlacementMap,
    reconcile::{PlanOptions, ReconcilePlan, plan},
};
use ringtail_proto::{GroupId, NodeId, UnixMillis};

fn node(id: u64, zone: &str, state: NodeState) -> Arc<Node> {
    Arc::new(Node {
        id: NodeId(id),
        joined: UnixMillis(0),
        addresses: NodeAddresses::default(),
        zone: zone.to_owned(),
        state,
        feature_level: 1,
    })
}

fn active(count: u64) -> Vec<Arc<Node>> {
    (1..=count)
        .map(|id| node(id, "", NodeState::Active))
        .collect()
}

fn ids(nodes: &[u64]) -> Vec<NodeId> {
    nodes.iter().copied().map(NodeId).collect()
}

fn at(target: &[u64]) -> GroupPlacement {
    let mut hosts = ids(target);
    hosts.sort();
    GroupPlacement {
        target: ids(target),
        hosts: hosts.clone(),
        voters: hosts,
        revision: 1,
        is_diverted: false,
    }
}

/// All groups on node 1.
fn alone(groups: u32) -> PlacementMap {
    (0..=groups)
        .map(|group| (GroupId(group), at(&[1])))
        .collect()
}

fn planned(nodes: &[Arc<Node>], placement: &PlacementMap) -> ReconcilePlan {
    plan(nodes, placement, &PlanOptions::default())
}

/// Carries the plan out until it is done; returns how many rounds that took.
fn carry_out(nodes: &[Arc<Node>], placement: &mut PlacementMap) -> usize {
    for round in 0..100 {
        let plan = planned(nodes, placement);
        if plan.is_done() {
            return round;
        }
        assert!(plan.next.len() <= 4, "{plan}");
        for change in plan.next {
            let target: Vec<u64> = change.target.iter().map(|node| node.0).collect();
            placement.insert(change.group, at(&target));
        }
    }
    panic!("no end: {}", planned(nodes, placement));
}

#[test]
fn a_plan_prints_what_is_done_now_and_what_later() {
    let mut placement = alone(5);
    let plan = planned(&active(3), &placement);
    assert_eq!(
        plan.to_string(),
        "groups to change: 6, copies: 12\n  \
         group 0: +2 +3 -> 1,2,3\n  \
         group 1: +2 +3 -> 2,1,3\n  \
         group 2: +3 +2 -> 1,3,2\n  \
         group 3: +3 +2 -> 3,1,2\n  \
         group 4: +2 +3 -> 2,3,1\n  \
         group 5: +2 +3 -> 1,2,3\n\
         on their way: none\n\
         to begin now: 0,1,2,3"
    );
    carry_out(&active(3), &mut placement);
    let plan = planned(&active(3), &placement);
    assert_eq!(
        plan.to_string(),
        "nothing to move\non their way: none\nto begin now: none"
    );
}

#[test]
fn only_so_many_groups_are_on_their_way_at_once() {
    let nodes = active(3);
    let mut placement = alone(16);
    for group in [3, 4, 5] {
        placement.get_mut(&GroupId(group)).unwrap().target = ids(&[2, 3, 1]);
    }
    let plan = planned(&nodes, &placement);
    assert_eq!(plan.unsettled, [3, 4, 5].map(GroupId));
    assert_eq!(plan.next.len(), 1, "{plan}");
    assert_eq!(plan.next[0].group, METADATA_GROUP);
    assert_eq!(carry_out(&nodes, &mut alone(16)), 17_usize.div_ceil(4));
}

#[test]
fn a_draining_node_is_emptied_first_and_gets_nothing() {
    let mut nodes = active(5);
    let mut placement = alone(16);
    carry_out(&nodes, &mut placement);
    nodes[1] = node(2, "", NodeState::Draining);
    nodes.push(node(6, "", NodeState::Active));
    let holds = |placement: &PlacementMap, id: u64| {
        let places = placement.values();
        places
            .filter(|place| place.target.contains(&NodeId(id)))
            .count()
    };
    let plan = planned(&nodes, &placement);
    for change in &plan.next {
        assert!(change.remove.contains(&NodeId(2)), "{plan}");
    }
    carry_out(&nodes, &mut placement);
    assert_eq!(holds(&placement, 2), 0);
    assert!(holds(&placement, 6) > 0);
}

#[test]
fn a_group_on_its_way_is_sent_elsewhere_only_when_it_cannot_arrive() {
    let mut nodes = active(4);
    let mut placement = alone(1);
    carry_out(&nodes, &mut placement);
    let group = GroupId(1);
    let wanted = placement[&group].target.clone();
    let others: Vec<NodeId> = wanted.iter().rev().copied().collect();
    placement.get_mut(&group).unwrap().target = vec![others[0]];
    // Where it goes is not where it should be, but it can get there; after that comes the next move.
    let plan = planned(&nodes, &placement);
    assert_eq!(
        (plan.unsettled.as_slice(), plan.next.len()),
        (&[group][..], 0),
        "{plan}"
    );
    let lost = others[0].0 as usize - 1;
    nodes[lost] = node(others[0].0, "", NodeState::Draining);
    let plan = planned(&nodes, &placement);
    assert!(
        plan.next.iter().any(|change| change.group == group),
        "{plan}"
    );
}

#[test]
fn the_metadata_have_three_voters_in_different_zones_and_stay_with_them() {
    let zoned = |zones: &[&str]| -> Vec<Arc<Node>> {
        let nodes = (1..).zip(zones);
        nodes
            .map(|(id, zone)| node(id, zone, NodeState::Active))
            .collect()
    };
    let target = |nodes: &[Arc<Node>], placement: &PlacementMap| {
        let plan = planned(nodes, placement);
        let moved = plan
            .all
            .moves
            .into_iter()
            .find(|change| change.group == METADATA_GROUP);
        moved.map(|change| change.target)
    };
    let check = |zones: &[&str], expect: Option<&[u64]>| {
        assert_eq!(
            target(&zoned(zones), &alone(1)),
            expect.map(ids),
            "{zones:?}"
        );
    };
    check(&["a"], None);
    check(&["a", "b"], None);
    check(&["a", "a", "b", "c"], Some(&[1, 3, 4]));
    check(&["a", "a", "a", "b"], Some(&[1, 4, 2]));
    check(&["", "", "", ""], Some(&[1, 2, 3]));
    // More nodes change nothing; one that goes is replaced, in its place.
    let mut placement = alone(1);
    placement.insert(METADATA_GROUP, at(&[3, 2, 1]));
    assert_eq!(target(&active(7), &placement), None);
    let mut nodes = active(7);
    nodes[1] = node(2, "", NodeState::Draining);
    assert_eq!(target(&nodes, &placement), Some(ids(&[3, 1, 4])));
}

#[test]
fn two_nodes_share_the_groups_and_a_third_doubles_the_copies() {
    let mut placement = alone(16);
    carry_out(&active(2), &mut placement);
    let holders: BTreeSet<_> = placement
        .values()
        .map(|place| place.target.clone())
        .collect();
    assert_eq!(holders, BTreeSet::from([ids(&[1]), ids(&[2])]));
    let plan = planned(&active(3), &placement);
    assert_eq!(plan.all.copies(), 2 * 17);
    carry_out(&active(3), &mut placement);
    assert!(placement.values().all(|place| place.target.len() == 3));
}

#[test]
fn without_an_active_node_nothing_is_planned() {
    let nodes = vec![
        node(1, "", NodeState::Joining),
        node(2, "", NodeState::Left),
    ];
    assert!(planned(&nodes, &alone(4)).is_done());
    assert!(planned(&[], &PlacementMap::new()).is_done());
}

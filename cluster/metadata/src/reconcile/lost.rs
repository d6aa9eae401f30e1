//! Nodes that have lost what they were: another one has come to their address.
//!
//! Such a node keeps its votes, and its place in the count of replicas, until somebody can take over from it; then it is
//! drained like any other, and leaves once it holds nothing. So at no time are there fewer replicas than its end alone
//! has cost.

use std::{collections::BTreeMap, sync::Arc};

use ringtail_proto::NodeId;
use ringtail_ring::replication_factor;

use super::drain_progress;
use crate::{Node, NodeState, PlacementMap};

/// The next lost node that can go on, and what it becomes. A function of its arguments alone.
#[must_use]
pub fn next_of_lost(
    nodes: &[Arc<Node>],
    placement: &PlacementMap,
    replicas_max: usize,
) -> Option<(NodeId, NodeState)> {
    let active = nodes.iter().filter(|node| node.is_active()).count();
    let can_do_without = |id: NodeId| {
        let others = |voters: &[NodeId]| voters.iter().filter(|voter| **voter != id).count();
        let held = placement.values().map(|place| others(&place.voters));
        active > 1 && replication_factor(active - 1, replicas_max) >= held.max().unwrap_or(0)
    };
    let mut lost = nodes
        .iter()
        .filter(|node| node.is_member() && node.addresses.is_nowhere());
    lost.find_map(|node| {
        let is_empty = || drain_progress(node.id, placement, &BTreeMap::new()).is_done();
        let next = match node.state {
            NodeState::Active if can_do_without(node.id) => NodeState::Draining,
            // It was never heard from and holds nothing.
            NodeState::Joining => NodeState::Left,
            NodeState::Draining if is_empty() => NodeState::Left,
            _ => return None,
        };
        Some((node.id, next))
    })
}

#[cfg(test)]
mod tests {
    use ringtail_proto::{GroupId, UnixMillis};

    use super::*;
    use crate::{GroupPlacement, NodeAddresses};

    /// Nodes from 1 on: whether each is lost, and its state.
    fn check(nodes: &[(bool, NodeState)], hosts: &[u64], expect: Option<(u64, NodeState)>) {
        let nodes = nodes.iter().zip(1..).map(|((is_lost, state), id)| {
            let id = NodeId(id);
            let peer = match is_lost {
                true => NodeAddresses::nowhere(id),
                false => format!("{id}.test:7000"),
            };
            Arc::new(Node {
                id,
                joined: UnixMillis(0),
                addresses: NodeAddresses {
                    peer,
                    ..NodeAddresses::default()
                },
                zone: String::new(),
                state: *state,
                feature_level: 1,
            })
        });
        let nodes: Vec<Arc<Node>> = nodes.collect();
        let hosts: Vec<NodeId> = hosts.iter().copied().map(NodeId).collect();
        let place = GroupPlacement {
            voters: hosts.clone(),
            hosts: hosts.clone(),
            ..GroupPlacement::default()
        };
        let placement = PlacementMap::from([(GroupId(1), place)]);
        let found = next_of_lost(&nodes, &placement, 3);
        let expect = expect.map(|(node, state)| (NodeId(node), state));
        assert_eq!(found, expect, "{nodes:?} {hosts:?}");
    }

    #[test]
    fn a_lost_node_goes_as_soon_as_another_can_take_over_and_leaves_empty() {
        use NodeState::{Active, Draining, Joining, Left};
        let (lost, whole) = (|state| (true, state), |state| (false, state));
        check(
            &[whole(Active), whole(Active), whole(Active)],
            &[1, 2, 3],
            None,
        );
        // Without it there would be one replica of each group.
        let three = [whole(Active), whole(Active), lost(Active)];
        check(&three, &[1, 2, 3], None);
        let coming = [three.as_slice(), &[whole(Joining)]].concat();
        check(&coming, &[1, 2, 3], None);
        let come = [three.as_slice(), &[whole(Active)]].concat();
        check(&come, &[1, 2, 3], Some((3, Draining)));
        let draining = [whole(Active), whole(Active), lost(Draining), whole(Active)];
        check(&draining, &[1, 2, 3, 4], None);
        check(&draining, &[1, 2, 4], Some((3, Left)));
        check(&[whole(Active), lost(Left), whole(Active)], &[1], None);
        check(&[whole(Active), lost(Joining)], &[1], Some((2, Left)));
        // One of two is no loss of replicas.
        check(&[whole(Active), lost(Active)], &[1], Some((2, Draining)));
        // Whoever is alone stays.
        check(&[lost(Active)], &[1], None);
    }
}

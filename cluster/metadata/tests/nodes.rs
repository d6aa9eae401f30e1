//! Nodes, tokens and the places of groups, command by command; most of it is what a hostile or hasty caller sends.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test may fail by panic"
)]

mod support;

use std::collections::{BTreeMap, BTreeSet};

use ringtail_metadata::{
    Command, GroupPlacement, JOIN_TOKEN_MS_MAX, JOIN_TOKENS_MAX, JoinAttempt, JoinTokenId,
    LEFT_NODES_MAX, Limits, METADATA_GROUP, MetadataError, NodeAddresses, NodeState, Outcome,
    reconcile::drain_progress,
};
use ringtail_proto::{ErrorKind, GroupId, NodeId, UnixMillis};
use support::{Replica, hash};

const HOUR: i64 = 3_600_000;

fn addresses(node: u64) -> NodeAddresses {
    NodeAddresses {
        http: format!("10.0.0.{node}:8080"),
        grpc: format!("10.0.0.{node}:7001"),
        peer: format!("10.0.0.{node}:7000"),
    }
}

fn token(number: u8, expires: i64) -> Command {
    Command::CreateJoinToken {
        name: "for a test".into(),
        secret_hash: hash(number),
        expires: UnixMillis(expires),
    }
}

fn join(token: u64, secret: u8, attempt: u8, node: u64) -> Command {
    Command::JoinNode {
        token: JoinTokenId(token),
        secret_hash: hash(secret),
        attempt: JoinAttempt([attempt; 16]),
        addresses: addresses(node),
        zone: String::new(),
        feature_level: 1,
    }
}

const fn set(node: u64, state: NodeState) -> Command {
    Command::SetNodeState {
        node: NodeId(node),
        state,
        is_forced: false,
    }
}

const fn remove_by_force(node: u64) -> Command {
    Command::SetNodeState {
        node: NodeId(node),
        state: NodeState::Left,
        is_forced: true,
    }
}

fn describe(node: u64, at: u64, feature_level: u32) -> Command {
    Command::DescribeNode {
        node: NodeId(node),
        addresses: addresses(at),
        zone: "a".into(),
        feature_level,
    }
}

fn move_group(group: u32, target: &[u64]) -> Command {
    Command::MoveGroup {
        group: GroupId(group),
        target: ids(target),
    }
}

fn settle(group: u32, revision: u64, voters: &[u64]) -> Command {
    Command::SettleGroup {
        group: GroupId(group),
        revision,
        voters: ids(voters),
    }
}

fn ids(nodes: &[u64]) -> Vec<NodeId> {
    nodes.iter().copied().map(NodeId).collect()
}

/// Node 1 alone.
fn ring_of_one() -> Replica {
    let mut replica = Replica::initialised(Limits::default());
    let register = Command::RegisterNode {
        node: NodeId(1),
        addresses: NodeAddresses::default(),
    };
    replica.run(register).unwrap();
    replica.run(describe(1, 1, 1)).unwrap();
    replica
}

/// Nodes `1..=count`, all active; every group still on node 1.
fn ring_of(count: u64) -> Replica {
    let mut replica = ring_of_one();
    for node in 2..=count {
        let number = (node - 1) as u8;
        replica.run(token(number, HOUR)).unwrap();
        let joined = replica.run(join(node - 1, number, 1, node));
        assert_eq!(joined, Ok(Outcome::Node(NodeId(node))));
        replica.run(set(node, NodeState::Active)).unwrap();
    }
    replica
}

fn place(replica: &Replica, group: u32) -> GroupPlacement {
    replica.directory().placement()[&GroupId(group)].clone()
}

/// Runs each and expects it to be refused with this text, and nothing else to change than the audit log.
fn refused(replica: &mut Replica, cases: &[(Command, &str)]) {
    for (command, expect) in cases {
        let seen = |replica: &Replica| {
            let directory = replica.directory();
            (
                directory.nodes(),
                directory.join_tokens(),
                directory.placement(),
            )
        };
        let before = seen(replica);
        let error = replica.run(command.clone()).unwrap_err();
        assert_eq!(error.to_string(), *expect, "{command}");
        assert_eq!(seen(replica), before, "{command}");
    }
}

#[test]
fn a_token_lets_one_node_in() {
    let mut replica = ring_of_one();
    let made = replica.run(token(1, HOUR));
    assert_eq!(made, Ok(Outcome::JoinToken(JoinTokenId(1))));
    assert_eq!(replica.run(join(1, 1, 9, 2)), Ok(Outcome::Node(NodeId(2))));
    let directory = replica.directory();
    let node = directory.node(NodeId(2)).unwrap();
    assert_eq!(
        (node.state, &node.addresses),
        (NodeState::Joining, &addresses(2))
    );
    let used = directory.join_tokens()[0].used.unwrap();
    assert_eq!((used.node, used.attempt), (NodeId(2), JoinAttempt([9; 16])));
    // The metadata are on every node from the first moment on, partitions are not.
    assert_eq!(place(&replica, 0).hosts, ids(&[1, 2]));
    assert_eq!(place(&replica, 1).hosts, ids(&[1]));
    // No secret and nothing made of one shows where people look.
    let tokens = format!("{:?}", directory.join_tokens());
    assert!(!tokens.contains(&"01".repeat(32)), "{tokens}");
    let audit = format!("{:?}", replica.machine.audit(100).unwrap());
    assert!(!audit.contains("SecretHash"), "{audit}");
}

#[test]
fn a_node_hosts_what_is_sent_to_it_and_only_what_never_moved_is_its_own_from_birth() {
    let mut replica = ring_of(2);
    let groups = |groups: &[u32]| groups.iter().copied().map(GroupId).collect::<BTreeSet<_>>();
    let hosted = |replica: &Replica, node| replica.directory().hosted_by(NodeId(node));
    let all = hosted(&replica, 1);
    let never_moved = |replica: &Replica, node| replica.directory().never_moved(NodeId(node), &all);
    assert!(all.contains(&GroupId(1)) && !all.contains(&METADATA_GROUP));
    assert_eq!(hosted(&replica, 2), groups(&[]));
    assert_eq!(never_moved(&replica, 1), all);
    assert_eq!(never_moved(&replica, 2), groups(&[]));
    replica.run(move_group(1, &[2])).unwrap();
    // On its way it is on both; it has members for ever.
    assert!(hosted(&replica, 1).contains(&GroupId(1)));
    assert_eq!(hosted(&replica, 2), groups(&[1]));
    assert!(!never_moved(&replica, 1).contains(&GroupId(1)));
    let revision = place(&replica, 1).revision;
    replica.run(settle(1, revision, &[2])).unwrap();
    assert!(!hosted(&replica, 1).contains(&GroupId(1)));
    assert_eq!(never_moved(&replica, 2), groups(&[]));
    let addresses = replica.directory().peer_addresses();
    assert_eq!(addresses.into_keys().collect::<Vec<_>>(), ids(&[1, 2]));
}

#[test]
fn tokens_that_are_spent_old_or_wrong_let_nobody_in() {
    let mut replica = ring_of_one();
    replica.run(token(1, HOUR)).unwrap();
    replica.run(token(2, HOUR)).unwrap();
    replica.run(token(3, HOUR)).unwrap();
    let revoke = |token| Command::RevokeJoinToken {
        token: JoinTokenId(token),
    };
    replica.run(revoke(3)).unwrap();
    replica.run(join(1, 1, 1, 2)).unwrap();
    refused(
        &mut replica,
        &[
            (join(1, 1, 2, 3), "join token 1 was used by node 2"),
            (join(2, 1, 1, 3), "join token 2 is unknown"),
            (join(3, 3, 1, 3), "join token 3 is unknown"),
            (join(4, 1, 1, 3), "join token 4 is unknown"),
            (join(0, 1, 1, 3), "join token 0 is unknown"),
            (revoke(3), "join token 3 is unknown"),
        ],
    );
    let late = replica.run_at(UnixMillis(HOUR), join(2, 2, 1, 3));
    let expired = MetadataError::JoinTokenExpired {
        token: JoinTokenId(2),
        expires: UnixMillis(HOUR),
    };
    assert_eq!(late, Err(expired.clone()));
    assert_eq!(expired.kind(), ErrorKind::Unauthenticated);
    // A clock that is set back brings no token back: the ring's time never falls.
    assert_eq!(
        replica.run_at(UnixMillis(1), join(2, 2, 1, 3)),
        Err(expired)
    );
}

#[test]
fn the_same_attempt_gives_the_same_node_until_it_was_heard_from() {
    let mut replica = ring_of_one();
    replica.run(token(1, HOUR)).unwrap();
    for _ in 0..3 {
        let joined = replica.run(join(1, 1, 7, 2));
        assert_eq!(joined, Ok(Outcome::Node(NodeId(2))));
    }
    // Also when the answer was lost for long.
    let joined = replica.run_at(UnixMillis(2 * HOUR), join(1, 1, 7, 2));
    assert_eq!(joined, Ok(Outcome::Node(NodeId(2))));
    assert_eq!(replica.directory().nodes().len(), 2);
    replica.run(set(2, NodeState::Active)).unwrap();
    refused(
        &mut replica,
        &[(join(1, 1, 7, 2), "join token 1 was used by node 2")],
    );
}

#[test]
fn tokens_have_limits() {
    let mut replica = ring_of_one();
    refused(
        &mut replica,
        &[
            (token(1, 0), "expires is not valid: it is in the past"),
            (
                token(1, JOIN_TOKEN_MS_MAX + HOUR),
                "expires is not valid: it is more than 31 days ahead",
            ),
        ],
    );
    for number in 0..JOIN_TOKENS_MAX {
        let token = token(number as u8, 100 * HOUR);
        replica.run_at(UnixMillis(1), token).unwrap();
    }
    let full = "there are 256 join tokens already, the most there may be; revoke one first";
    refused(&mut replica, &[(token(9, 100 * HOUR), full)]);
    // A spent one gives way.
    replica.run(join(5, 4, 1, 2)).unwrap();
    assert_eq!(
        replica.run(token(9, 100 * HOUR)),
        Ok(Outcome::JoinToken(JoinTokenId(257)))
    );
    let tokens = replica.directory().join_tokens();
    assert_eq!(tokens.len(), 256);
    assert!(tokens.iter().all(|token| token.id != JoinTokenId(5)));
}

#[test]
fn nobody_takes_the_address_of_another_node() {
    let mut replica = ring_of(2);
    replica.run(token(9, HOUR)).unwrap();
    refused(
        &mut replica,
        &[
            (join(2, 9, 1, 2), "address 10.0.0.2:7000 belongs to node 2"),
            (describe(1, 2, 1), "address 10.0.0.2:7000 belongs to node 2"),
            (describe(3, 3, 1), "there is no node 3"),
        ],
    );
    // A node may move, and where it was is free then, as is the place of one that left.
    replica.run(describe(2, 7, 1)).unwrap();
    assert_eq!(replica.run(join(2, 9, 1, 2)), Ok(Outcome::Node(NodeId(3))));
    replica.run(set(3, NodeState::Left)).unwrap();
    replica.run(describe(2, 2, 1)).unwrap();
    refused(
        &mut replica,
        &[(describe(3, 3, 1), "node 3 has left the ring")],
    );
}

#[test]
fn ids_of_nodes_are_never_used_again() {
    let mut replica = ring_of_one();
    for round in 0..LEFT_NODES_MAX as u64 + 10 {
        replica.run_at(UnixMillis(1), token(1, HOUR)).unwrap();
        let joined = replica.run_at(UnixMillis(1), join(round + 1, 1, 1, 2));
        assert_eq!(joined, Ok(Outcome::Node(NodeId(round + 2))));
        let left = set(round + 2, NodeState::Left);
        replica.run_at(UnixMillis(1), left).unwrap();
    }
    // Only so many that left are kept in mind.
    let nodes = replica.directory().nodes();
    assert_eq!(nodes.len(), LEFT_NODES_MAX + 1);
    assert_eq!(nodes[0].id, NodeId(1));
    replica.reopen();
    replica.run_at(UnixMillis(1), token(1, HOUR)).unwrap();
    let last = LEFT_NODES_MAX as u64 + 11;
    let joined = replica.run_at(UnixMillis(1), join(last, 1, 1, 2));
    assert_eq!(joined, Ok(Outcome::Node(NodeId(last + 1))));
}

#[test]
fn a_ring_has_room_for_so_many_nodes() {
    let limits = Limits {
        nodes_max: 2,
        ..Limits::default()
    };
    let mut replica = ring_of(2);
    replica.run(Command::SetLimits { limits }).unwrap();
    replica.run(token(9, HOUR)).unwrap();
    refused(
        &mut replica,
        &[(
            join(2, 9, 1, 3),
            "there are 2 nodes already, the most there may be",
        )],
    );
    // Those that left do not count, and the token is still good.
    replica.run(set(2, NodeState::Left)).unwrap();
    assert_eq!(replica.run(join(2, 9, 1, 3)), Ok(Outcome::Node(NodeId(3))));
}

#[test]
fn states_follow_each_other_in_one_direction() {
    let mut replica = ring_of(3);
    replica.run(token(9, HOUR)).unwrap();
    replica.run(join(3, 9, 1, 4)).unwrap();
    refused(
        &mut replica,
        &[
            (
                set(4, NodeState::Draining),
                "node 4 is joining, it cannot become draining",
            ),
            (
                set(2, NodeState::Joining),
                "node 2 is active, it cannot become joining",
            ),
            (set(5, NodeState::Active), "there is no node 5"),
        ],
    );
    for state in [NodeState::Draining, NodeState::Active, NodeState::Active] {
        assert_eq!(replica.run(set(2, state)), Ok(Outcome::Done));
    }
    replica.run(set(2, NodeState::Draining)).unwrap();
    replica.run(set(2, NodeState::Left)).unwrap();
    replica.run(set(2, NodeState::Left)).unwrap();
    let register = Command::RegisterNode {
        node: NodeId(2),
        addresses: addresses(2),
    };
    refused(
        &mut replica,
        &[
            (set(2, NodeState::Active), "node 2 has left the ring"),
            (register, "node 2 has left the ring"),
        ],
    );
    assert_eq!(place(&replica, 0).hosts, ids(&[1, 3, 4]));
}

#[test]
fn the_last_active_node_stays() {
    let mut replica = ring_of_one();
    let last = "node 1 is the last active one";
    refused(
        &mut replica,
        &[
            (set(1, NodeState::Draining), last),
            (set(1, NodeState::Left), last),
            (remove_by_force(1), last),
        ],
    );
    let mut replica = ring_of(2);
    replica.run(set(2, NodeState::Draining)).unwrap();
    refused(&mut replica, &[(set(1, NodeState::Draining), last)]);
}

#[test]
fn a_node_that_holds_groups_is_drained_before_it_goes() {
    let mut replica = ring_of(3);
    // Node 1 still has everything alone: nothing may force it out.
    let quorum = "without node 1, 0 of 1 voters of group 0 would be left, fewer than a majority";
    refused(
        &mut replica,
        &[
            (set(1, NodeState::Left), quorum),
            (remove_by_force(1), quorum),
        ],
    );
    for group in 0..=16 {
        replica.run(move_group(group, &[1, 2, 3])).unwrap();
        replica.run(settle(group, 1, &[1, 2, 3])).unwrap();
    }
    let holds = "node 3 still holds 17 groups, group 0 among them; drain it first";
    refused(&mut replica, &[(set(3, NodeState::Left), holds)]);
    // A dead node may be forced out: two of three stay. A second one may not.
    replica.run(remove_by_force(3)).unwrap();
    let quorum = "without node 2, 1 of 3 voters of group 0 would be left, fewer than a majority";
    refused(
        &mut replica,
        &[
            (set(2, NodeState::Left), quorum),
            (remove_by_force(2), quorum),
        ],
    );
}

#[test]
fn a_node_in_the_middle_of_a_move_is_missed_by_either_side() {
    let mut replica = ring_of(4);
    for group in 0..=16 {
        replica.run(move_group(group, &[1, 2, 3])).unwrap();
        replica.run(settle(group, 1, &[1, 2, 3])).unwrap();
    }
    replica.run(move_group(5, &[4])).unwrap();
    let quorum = "without node 4, 0 of 1 voters of group 5 would be left, fewer than a majority";
    refused(&mut replica, &[(remove_by_force(4), quorum)]);
    assert_eq!(place(&replica, 5).hosts, ids(&[1, 2, 3, 4]));
    // Sent elsewhere, it may still be on node 4 in part.
    replica.run(move_group(5, &[1, 2, 3])).unwrap();
    assert_eq!(place(&replica, 5).hosts, ids(&[1, 2, 3, 4]));
    assert!(!place(&replica, 5).is_settled(GroupId(5)));
    let unclear =
        "group 5 was sent elsewhere on its way and may need node 4; wait until it has arrived";
    refused(
        &mut replica,
        &[
            (set(4, NodeState::Left), unclear),
            (remove_by_force(4), unclear),
        ],
    );
    replica.run(settle(5, 3, &[1, 2, 3])).unwrap();
    // From three to one: in between, two may vote, and each of them is needed.
    replica.run(move_group(5, &[4])).unwrap();
    let quorum = "without node 1, 1 of 2 voters of group 5 would be left, fewer than a majority";
    refused(&mut replica, &[(remove_by_force(1), quorum)]);
    replica.run(move_group(5, &[1, 2, 3])).unwrap();
    replica.run(settle(5, 5, &[1, 2, 3])).unwrap();
    replica.run(set(4, NodeState::Left)).unwrap();
}

#[test]
fn impossible_replication_is_refused() {
    let mut replica = ring_of(3);
    let raise = Command::RaiseFeatureGate { level: 1 };
    let replication = |replicas_max| Command::SetReplicationFactor { replicas_max };
    replica.run(raise.clone()).unwrap();
    refused(
        &mut replica,
        &[(
            replication(5),
            "5 replicas need as many active nodes, there are 3",
        )],
    );
    for replicas in [1, 3, 3] {
        replica.run(replication(replicas)).unwrap();
        assert_eq!(replica.directory().replicas_max(), usize::from(replicas));
    }
    let mut replica = ring_of(5);
    replica.run(raise).unwrap();
    replica.run(replication(5)).unwrap();
    replica.run(move_group(1, &[5, 4, 3, 2, 1])).unwrap();
    refused(
        &mut replica,
        &[(
            move_group(0, &[5, 4, 3, 2, 1]),
            "target is not valid: 5 nodes are more than the ring keeps",
        )],
    );
}

#[test]
fn groups_are_sent_to_active_nodes_of_the_ring_only() {
    let mut replica = ring_of(3);
    replica.run(set(3, NodeState::Draining)).unwrap();
    refused(
        &mut replica,
        &[
            (move_group(1, &[9]), "there is no node 9"),
            (
                move_group(1, &[3]),
                "node 3 is draining, groups are not sent there",
            ),
            (move_group(17, &[1]), "there is no group 17"),
            (settle(17, 0, &[1]), "there is no group 17"),
            (settle(1, 0, &[2]), "group 1 is on its move 0 by now"),
            (settle(1, 1, &[1]), "group 1 is on its move 0 by now"),
        ],
    );
    replica.run(set(3, NodeState::Left)).unwrap();
    refused(
        &mut replica,
        &[(move_group(1, &[3]), "node 3 has left the ring")],
    );
}

#[test]
fn word_of_an_earlier_move_does_not_end_the_present_one() {
    let mut replica = ring_of(3);
    replica.run(move_group(2, &[2])).unwrap();
    replica.run(move_group(2, &[3])).unwrap();
    replica.run(move_group(2, &[2])).unwrap();
    refused(
        &mut replica,
        &[(settle(2, 1, &[2]), "group 2 is on its move 3 by now")],
    );
    assert_eq!(place(&replica, 2).hosts, ids(&[1, 2, 3]));
    replica.run(settle(2, 3, &[2])).unwrap();
    let settled = place(&replica, 2);
    assert_eq!((settled.hosts, settled.voters), (ids(&[2]), ids(&[2])));
    // Said twice is said once.
    assert_eq!(replica.run(settle(2, 3, &[2])), Ok(Outcome::Done));
}

#[test]
fn another_preferred_leader_is_no_move() {
    let mut replica = ring_of(3);
    replica.run(move_group(2, &[1, 2, 3])).unwrap();
    replica.run(settle(2, 1, &[3, 2, 1])).unwrap();
    replica.run(move_group(2, &[3, 1, 2])).unwrap();
    let place = place(&replica, 2);
    assert_eq!(place.preferred(), Some(NodeId(3)));
    assert!(place.is_settled(GroupId(2)));
}

#[test]
fn the_gate_keeps_older_binaries_out() {
    let mut replica = ring_of(2);
    assert_eq!(replica.directory().feature_level(), 1);
    replica.run(describe(1, 1, 3)).unwrap();
    let raise = |level| Command::RaiseFeatureGate { level };
    refused(
        &mut replica,
        &[(raise(2), "node 2 knows features up to 1 only")],
    );
    replica.run(describe(2, 2, 2)).unwrap();
    assert_eq!(replica.directory().feature_level(), 2);
    replica.run(raise(2)).unwrap();
    replica.run(raise(1)).unwrap();
    assert_eq!(replica.directory().feature_gate(), 2);
    replica.run(token(9, HOUR)).unwrap();
    let older = "the binary knows features up to 1, the ring needs 2";
    refused(
        &mut replica,
        &[(join(2, 9, 1, 3), older), (describe(2, 2, 1), older)],
    );
    // The oldest binary decides, as long as it is there.
    replica.run(set(2, NodeState::Left)).unwrap();
    assert_eq!(replica.directory().feature_level(), 3);
}

#[test]
fn a_drain_is_done_when_nothing_is_left() {
    let mut replica = ring_of(3);
    for group in 0..=16 {
        replica.run(move_group(group, &[1, 2, 3])).unwrap();
        replica.run(settle(group, 1, &[1, 2, 3])).unwrap();
    }
    let leaders = BTreeMap::from([(GroupId(1), NodeId(3)), (GroupId(2), NodeId(1))]);
    let progress = |replica: &Replica, leaders: &BTreeMap<GroupId, NodeId>| {
        drain_progress(NodeId(3), &replica.directory().placement(), leaders)
    };
    let begin = progress(&replica, &leaders);
    assert_eq!(begin.to_string(), "replicas left: 17, leaders left: 1");
    for group in 0..=16 {
        replica.run(move_group(group, &[1])).unwrap();
        assert!(!progress(&replica, &BTreeMap::new()).is_done());
        replica.run(settle(group, 2, &[1])).unwrap();
    }
    assert!(!progress(&replica, &leaders).is_done());
    assert!(progress(&replica, &BTreeMap::new()).is_done());
    replica.run(set(3, NodeState::Left)).unwrap();
}

#[test]
fn nothing_of_a_ring_is_there_before_it_is_made() {
    let mut replica = Replica::new();
    for command in [
        token(1, HOUR),
        join(1, 1, 1, 1),
        Command::SetReplicationFactor { replicas_max: 1 },
        Command::RaiseFeatureGate { level: 1 },
    ] {
        assert_eq!(replica.run(command), Err(MetadataError::NotInitialised));
    }
    assert!(replica.directory().placement().is_empty());
    assert!(replica.run(move_group(0, &[1])).is_err());
}

fn addresses_with(node: u64, peer: &str) -> NodeAddresses {
    NodeAddresses {
        peer: peer.to_owned(),
        ..addresses(node)
    }
}

fn describe_at(node: u64, addresses: NodeAddresses) -> Command {
    Command::DescribeNode {
        node: NodeId(node),
        addresses,
        zone: String::new(),
        feature_level: 1,
    }
}

#[test]
fn only_where_peers_call_has_to_be_a_place_of_its_own() {
    let mut replica = ring_of(2);
    // Both serve visitors on the loopback address of their own machine, as a node does when nobody says otherwise.
    for node in 1..=2 {
        let local = NodeAddresses {
            http: "127.0.0.1:8080".into(),
            grpc: "127.0.0.1:7001".into(),
            peer: format!("10.0.0.{node}:7000"),
        };
        replica.run(describe_at(node, local)).unwrap();
    }
    refused(
        &mut replica,
        &[(
            describe_at(2, addresses_with(2, "10.0.0.1:7000")),
            "address 10.0.0.1:7000 belongs to node 1",
        )],
    );
}

#[test]
fn a_node_that_nobody_can_call_is_alone() {
    let mut replica = ring_of_one();
    let everywhere = describe_at(1, addresses_with(1, "0.0.0.0:7000"));
    replica.run(everywhere.clone()).unwrap();
    replica.run(token(1, HOUR)).unwrap();
    let reason = "peer address 0.0.0.0:7000 tells no other node where to call: that node needs peer_advertised";
    refused(&mut replica, &[(join(1, 1, 1, 2), reason)]);
    replica.run(describe_at(1, addresses(1))).unwrap();
    replica.run(join(1, 1, 1, 2)).unwrap();
    let nowhere = describe_at(2, addresses_with(2, "[::]:7000"));
    let other =
        "peer address [::]:7000 tells no other node where to call: that node needs peer_advertised";
    refused(&mut replica, &[(nowhere, other), (everywhere, reason)]);
}

#[test]
fn a_node_that_lost_the_answer_may_come_back_from_elsewhere() {
    let mut replica = ring_of_one();
    replica.run(token(1, HOUR)).unwrap();
    replica.run(join(1, 1, 7, 2)).unwrap();
    let again = replica.run(join(1, 1, 7, 9));
    assert_eq!(again, Ok(Outcome::Node(NodeId(2))));
    let node = replica.directory().node(NodeId(2)).unwrap();
    assert_eq!(node.addresses, addresses(9));
    assert_eq!(node.state, NodeState::Joining);
    // Not to the place of another one, and not with another attempt.
    refused(
        &mut replica,
        &[
            (join(1, 1, 7, 1), "address 10.0.0.1:7000 belongs to node 1"),
            (join(1, 1, 8, 9), "join token 1 was used by node 2"),
        ],
    );
}

#[test]
fn nodes_that_left_or_were_forgotten_may_not_call() {
    let replica = {
        let mut replica = ring_of(3);
        replica.run(set(3, NodeState::Left)).unwrap();
        replica
    };
    let directory = replica.directory();
    let may_call: Vec<bool> = (1..=5)
        .map(|node| directory.may_call(NodeId(node)))
        .collect();
    // Of the fourth and fifth this replica may not have heard yet.
    assert_eq!(may_call, [true, true, false, true, true]);
}

#[test]
fn a_command_waits_until_every_binary_knows_it() {
    let mut replica = ring_of(2);
    let newer = Command::SetReplicationFactor { replicas_max: 1 };
    replica.run(describe(2, 2, 0)).unwrap();
    let reason =
        "the command needs feature level 1 on all nodes, the ring is at 0: upgrade all nodes first";
    refused(
        &mut replica,
        &[
            (newer.clone(), reason),
            (
                Command::RaiseFeatureGate { level: 1 },
                "node 2 knows features up to 0 only",
            ),
        ],
    );
    replica.run(describe(2, 2, 1)).unwrap();
    // That all know it is not enough: an older one could still come back.
    refused(&mut replica, &[(newer.clone(), reason)]);
    replica.run(Command::RaiseFeatureGate { level: 1 }).unwrap();
    replica.run(newer).unwrap();
}

//! Restart and replay: whatever the commands, batches and crashes were, the same log gives the same state.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test may fail by panic"
)]

mod support;

use bytes::Bytes;
use proptest::{collection::vec, prelude::*};
use ringtail_checkpoint::CheckpointStore as _;
use ringtail_metadata::{
    ClusterId, Command, GoalCondition, GoalId, JoinAttempt, JoinTokenId, KeyId, Limits,
    NodeAddresses, NodeState, OptionsChange, Scope,
};
use ringtail_proto::{GroupId, NodeId, SiteId, UnixMillis};
use ringtail_raft::Body;
use support::{Replica, add_site, domain, entry, hash, rename};

/// Small spaces, so that names clash and limits are reached.
fn commands() -> impl Strategy<Value = Command> {
    let site = (1..6u64).prop_map(SiteId);
    let name = (0..8u8).prop_map(|name| format!("s{name}.example"));
    let domains = vec(0..8u8, 0..4).prop_map(|names| {
        names
            .iter()
            .map(|name| domain(&format!("s{name}.example")))
            .collect()
    });
    let condition = (0..3u8, any::<bool>()).prop_map(|(number, is_page)| match is_page {
        true => GoalCondition::PagePattern(format!("/{number}")),
        false => GoalCondition::EventName(format!("{number}")),
    });
    let key = (1..6u64).prop_map(KeyId);
    prop_oneof![
        1 => Just(init()),
        1 => (1..4u32).prop_map(|sites_max| Command::SetLimits { limits: Limits { sites_max, ..tight() } }),
        1 => (1..4u64, 0..2u8).prop_map(|(node, port)| Command::RegisterNode {
            node: NodeId(node),
            addresses: NodeAddresses { http: format!("h{port}"), grpc: String::new(), peer: String::new() },
        }),
        4 => name.clone().prop_map(|name| add_site(&name)),
        3 => (1..6u64, name).prop_map(|(site, name)| rename(site, &name)),
        2 => (site.clone(), domains).prop_map(|(site, aliases)| Command::SetAliases { site, aliases }),
        2 => (site.clone(), any::<bool>())
            .prop_map(|(site, is_paused)| Command::PauseSite { site, is_paused }),
        2 => (site.clone(), proptest::option::of(1..240u16)).prop_map(|(site, minutes)| {
            let change = OptionsChange { visit_timeout_minutes: minutes, ..OptionsChange::default() };
            Command::SetSiteOptions { site, change }
        }),
        3 => (site.clone(), 0..3u8, condition).prop_map(|(site, name, condition)| Command::AddGoal {
            site,
            name: format!("goal {name}"),
            condition,
        }),
        1 => (site.clone(), (1..5u64).prop_map(GoalId))
            .prop_map(|(site, goal)| Command::RemoveGoal { site, goal }),
        3 => (0..6u8, proptest::option::of(site.clone())).prop_map(|(number, site)| Command::AddKey {
            name: format!("key {number}"),
            scope: Scope::Write,
            site,
            secret_hash: hash(number),
            expires: None,
        }),
        2 => key.clone().prop_map(|key| Command::RevokeKey { key }),
        2 => vec((key, (0..100i64).prop_map(UnixMillis)), 0..4)
            .prop_map(|used| Command::TouchKeys { used }),
        2 => vec((site, 0..4u64), 0..4).prop_map(|settled| Command::SettleSites { settled }),
        12 => ring_commands(),
    ]
}

fn ring_commands() -> impl Strategy<Value = Command> {
    let node = (1..5u64).prop_map(NodeId);
    let group = (0..4u32).prop_map(GroupId);
    let token = (1..5u64).prop_map(JoinTokenId);
    let nodes = vec(node.clone(), 1..4);
    let addresses = (1..5u8).prop_map(|port| NodeAddresses {
        http: String::new(),
        grpc: String::new(),
        peer: format!("h:{port}"),
    });
    let state = prop_oneof![
        1 => Just(NodeState::Joining),
        3 => Just(NodeState::Active),
        1 => Just(NodeState::Draining),
        1 => Just(NodeState::Left),
    ];
    prop_oneof![
        3 => (0..3u8, 0..60i64).prop_map(|(number, expires)| Command::CreateJoinToken {
            name: String::new(),
            secret_hash: hash(number),
            expires: UnixMillis(expires),
        }),
        1 => token.clone().prop_map(|token| Command::RevokeJoinToken { token }),
        4 => (token, 0..3u8, 0..2u8, addresses.clone(), 0..3u32).prop_map(
            |(token, number, attempt, addresses, feature_level)| Command::JoinNode {
                token,
                secret_hash: hash(number),
                attempt: JoinAttempt([attempt; 16]),
                addresses,
                zone: String::new(),
                feature_level,
            }
        ),
        2 => (node.clone(), addresses, 0..3u32).prop_map(|(node, addresses, feature_level)| {
            let zone = "z".to_owned();
            Command::DescribeNode { node, addresses, zone, feature_level }
        }),
        6 => (node, state, any::<bool>())
            .prop_map(|(node, state, is_forced)| Command::SetNodeState { node, state, is_forced }),
        1 => (0..6u8).prop_map(|replicas_max| Command::SetReplicationFactor { replicas_max }),
        1 => (0..3u32).prop_map(|level| Command::RaiseFeatureGate { level }),
        4 => (group.clone(), nodes.clone())
            .prop_map(|(group, target)| Command::MoveGroup { group, target }),
        4 => (group, 0..3u64, nodes)
            .prop_map(|(group, revision, voters)| Command::SettleGroup { group, revision, voters }),
    ]
}

fn tight() -> Limits {
    Limits {
        sites_max: 4,
        aliases_per_site_max: 2,
        goals_per_site_max: 2,
        keys_max: 3,
        nodes_max: 3,
        audit_records_max: 5,
    }
}

fn init() -> Command {
    Command::InitCluster {
        cluster: ClusterId(1),
        groups: 2,
        limits: tight(),
    }
}

/// A body of each kind now and then.
fn bodies() -> impl Strategy<Value = Vec<Body>> {
    let command = (0..50i64, commands())
        .prop_map(|(at, command)| Body::Command(entry(UnixMillis(at), command).to_log()));
    let body = prop_oneof![
        20 => command,
        1 => Just(Body::Blank),
        1 => any::<u8>().prop_map(|byte| Body::Membership(Bytes::from(vec![byte; 3]))),
    ];
    vec(body, 1..60)
}

/// A rename or a limit must hold in the directory as in the rows: reading the rows again changes nothing.
fn assert_rows_hold_everything(replica: &mut Replica) {
    let (visible, rows) = (replica.visible(), replica.rows());
    replica.reopen();
    assert_eq!(replica.visible(), visible);
    assert_eq!(replica.rows(), rows);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn any_log_in_any_runs_gives_the_same_state(bodies in bodies(), cuts in vec(1..8usize, 1..60)) {
        let mut one_by_one = Replica::new();
        one_by_one.run(init()).unwrap();
        let mut in_runs = Replica::new();
        in_runs.run(init()).unwrap();
        let mut replies = Vec::new();
        for body in &bodies {
            replies.extend(one_by_one.apply(vec![body.clone()]));
        }
        let (mut rest, mut cuts, mut replies_in_runs) = (&bodies[..], cuts.into_iter().cycle(), Vec::new());
        while !rest.is_empty() {
            let (run, later) = rest.split_at(cuts.next().unwrap().min(rest.len()));
            replies_in_runs.extend(in_runs.apply(run.to_vec()));
            rest = later;
        }
        prop_assert_eq!(replies, replies_in_runs);
        prop_assert_eq!(one_by_one.rows(), in_runs.rows());
        prop_assert_eq!(one_by_one.visible(), in_runs.visible());
        assert_rows_hold_everything(&mut one_by_one);
    }

    #[test]
    fn a_crash_anywhere_and_a_replay_give_the_same_state(
        bodies in bodies(),
        persist_after in 0..60usize,
        crash_after in 0..60usize,
        kept in 0..20usize,
    ) {
        let mut calm = Replica::new();
        let mut crashed = Replica::new();
        for replica in [&mut calm, &mut crashed] {
            replica.run(init()).unwrap();
        }
        for (number, body) in bodies.iter().enumerate() {
            calm.apply(vec![body.clone()]);
            crashed.apply(vec![body.clone()]);
            if number == persist_after {
                crashed.store.persist().unwrap();
            }
            if number == crash_after {
                crashed.crash(kept);
                crashed.catch_up();
            }
        }
        prop_assert_eq!(calm.rows(), crashed.rows());
        prop_assert_eq!(calm.visible(), crashed.visible());
    }

    #[test]
    fn entries_that_come_again_change_nothing(bodies in bodies(), from in 0..60usize) {
        let mut replica = Replica::new();
        replica.run(init()).unwrap();
        replica.apply(bodies);
        let (visible, rows) = (replica.visible(), replica.rows());
        let again = replica.log[from.min(replica.log.len())..].to_vec();
        support::apply(&replica.machine, again);
        prop_assert_eq!(replica.visible(), visible);
        prop_assert_eq!(replica.rows(), rows);
    }

    #[test]
    fn a_ring_that_was_made_can_always_agree_whatever_was_asked(bodies in bodies()) {
        let mut replica = Replica::new();
        replica.run(init()).unwrap();
        let mut ids = std::collections::BTreeSet::new();
        for body in bodies {
            let before: Vec<_> = replica.directory().nodes();
            replica.apply(vec![body]);
            let nodes = replica.directory().nodes();
            let members = nodes.iter().filter(|node| node.is_member());
            prop_assert!(members.clone().count() <= tight().nodes_max as usize);
            prop_assert!(nodes.is_empty() || nodes.iter().any(|node| node.is_active()));
            // Who left stays away, and no id is given out twice.
            for node in &before {
                let now = replica.directory().node(node.id).unwrap();
                prop_assert!(node.is_member() || !now.is_member());
            }
            ids.extend(nodes.iter().map(|node| node.id));
            prop_assert_eq!(ids.len(), nodes.len());
            let is_member = |id: &NodeId| nodes.iter().any(|node| node.id == *id && node.is_member());
            for (group, place) in replica.directory().placement().iter() {
                for voters in [&place.voters, &place.target] {
                    let there = voters.iter().filter(|id| is_member(id)).count();
                    prop_assert!(2 * there > voters.len(), "group {}: {:?}", group, place);
                    let are_hosts = voters.iter().all(|id| place.hosts.contains(id) || !is_member(id));
                    prop_assert!(are_hosts, "group {}: {:?}", group, place);
                }
            }
        }
    }

    #[test]
    fn domains_belong_to_one_site_whatever_was_asked(bodies in bodies()) {
        let mut replica = Replica::new();
        replica.run(init()).unwrap();
        replica.apply(bodies);
        let directory = replica.directory();
        let mut owners = std::collections::BTreeMap::new();
        for site in directory.sites() {
            prop_assert!(site.aliases.len() <= tight().aliases_per_site_max as usize);
            prop_assert!(site.settings.goals.len() <= tight().goals_per_site_max as usize);
            prop_assert!(site.settled_revision <= site.settings.revision);
            for domain in site.domains() {
                prop_assert_eq!(owners.insert(domain.clone(), site.id), None);
            }
        }
        for name in 0..8 {
            let name = format!("s{name}.example");
            let found = directory.site_by_domain(&name).map(|site| site.id);
            prop_assert_eq!(found, owners.get(name.as_str()).copied());
        }
        prop_assert!(directory.keys().len() <= tight().keys_max as usize);
    }
}

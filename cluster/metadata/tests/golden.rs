//! The stored formats of group 0: entries of its log and rows of its store, byte for byte.
//!
//! `RINGTAIL_GOLDEN=write cargo test -p ringtail-metadata --test golden` writes the files anew; a change of a line that
//! is there means that old directories can no longer be read.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test may fail by panic"
)]

mod support;

use std::path::PathBuf;

use bytes::Bytes;
use ringtail_checkpoint::{CheckpointStore as _, GroupBatch, GroupKey, MemoryStore};
use ringtail_metadata::{
    ClusterId, Command, Entry, GoalCondition, GoalId, GroupPlacement, JoinAttempt, JoinTokenId,
    KeyId, Limits, NodeAddresses, NodeState, OptionsChange, Outcome, Scope,
};
use ringtail_proto::{GroupId, NodeId, SiteId, UnixMillis};
use ringtail_raft::Body;
use support::{GROUP, Replica, add_site, domain, entry, hash, rename};

/// Every command once, in an order in which each is carried out.
fn commands() -> Vec<Command> {
    vec![
        Command::InitCluster {
            cluster: ClusterId(0xc1),
            groups: 16,
            limits: Limits::default(),
        },
        Command::SetLimits {
            limits: Limits {
                keys_max: 99,
                ..Limits::default()
            },
        },
        Command::RegisterNode {
            node: NodeId(1),
            addresses: NodeAddresses {
                http: "127.0.0.1:8080".into(),
                grpc: "127.0.0.1:7001".into(),
                peer: String::new(),
            },
        },
        add_site("a.example"),
        rename(1, "b.example"),
        Command::SetAliases {
            site: SiteId(1),
            aliases: vec![domain("www.b.example")],
        },
        Command::PauseSite {
            site: SiteId(1),
            is_paused: true,
        },
        Command::SetSiteOptions {
            site: SiteId(1),
            change: OptionsChange {
                visit_timeout_minutes: Some(45),
                property_keys: Some(vec!["plan".into()]),
                allowed_query_parameters: Some(vec!["q".into()]),
                allowed_origins: Some(vec![domain("shop.example")]),
                check_origin: Some(true),
                require_consent: Some(true),
                obey_do_not_track: Some(true),
            },
        },
        Command::AddGoal {
            site: SiteId(1),
            name: "Signup".into(),
            condition: GoalCondition::EventName("signup".into()),
        },
        Command::AddGoal {
            site: SiteId(1),
            name: "Thanks".into(),
            condition: GoalCondition::PagePattern("/thanks/**".into()),
        },
        Command::RemoveGoal {
            site: SiteId(1),
            goal: GoalId(1),
        },
        Command::AddKey {
            name: "reports".into(),
            scope: Scope::Read,
            site: Some(SiteId(1)),
            secret_hash: hash(1),
            expires: Some(UnixMillis(9_999)),
        },
        Command::AddKey {
            name: "admin".into(),
            scope: Scope::Admin,
            site: None,
            secret_hash: hash(2),
            expires: None,
        },
        Command::RevokeKey { key: KeyId(1) },
        Command::TouchKeys {
            used: vec![(KeyId(2), UnixMillis(8_888))],
        },
        Command::SettleSites {
            settled: vec![(SiteId(1), 3)],
        },
        Command::DescribeNode {
            node: NodeId(1),
            addresses: addresses(1),
            zone: "a".into(),
            feature_level: 2,
        },
        create_token(1),
        create_token(2),
        create_token(3),
        Command::RevokeJoinToken {
            token: JoinTokenId(3),
        },
        join(1, 2),
        join(2, 3),
        set_state(2, NodeState::Active),
        set_state(3, NodeState::Active),
        Command::RaiseFeatureGate { level: 1 },
        Command::MoveGroup {
            group: GroupId(5),
            target: vec![NodeId(2), NodeId(1), NodeId(3)],
        },
        Command::SettleGroup {
            group: GroupId(5),
            revision: 1,
            voters: vec![NodeId(1), NodeId(2), NodeId(3)],
        },
        Command::SetReplicationFactor { replicas_max: 1 },
        set_state(1, NodeState::Draining),
        knows_reprocessing(2),
        knows_reprocessing(3),
        Command::RaiseFeatureGate { level: 2 },
        reprocess("first"),
        Command::PauseReprocess {
            site: SiteId(1),
            is_paused: true,
        },
        Command::CancelReprocess {
            site: SiteId(1),
            generation: 1,
        },
        reprocess("second"),
        Command::SwitchGeneration {
            site: SiteId(1),
            generation: 2,
        },
        Command::SwitchGeneration {
            site: SiteId(1),
            generation: 0,
        },
        Command::AcceptGeneration {
            site: SiteId(1),
            former: 2,
        },
        reprocess("third"),
    ]
}

fn knows_reprocessing(node: u64) -> Command {
    Command::DescribeNode {
        node: NodeId(node),
        addresses: addresses(node),
        zone: "b".into(),
        feature_level: 2,
    }
}

fn reprocess(label: &str) -> Command {
    Command::Reprocess {
        site: SiteId(1),
        rules: vec![1, 2, 3],
        label: label.into(),
    }
}

fn addresses(node: u64) -> NodeAddresses {
    NodeAddresses {
        http: format!("10.0.0.{node}:8080"),
        grpc: format!("10.0.0.{node}:7001"),
        peer: format!("10.0.0.{node}:7000"),
    }
}

fn create_token(number: u8) -> Command {
    Command::CreateJoinToken {
        name: format!("node {number}"),
        secret_hash: hash(number),
        expires: UnixMillis(9_999_999),
    }
}

fn join(token: u8, node: u64) -> Command {
    Command::JoinNode {
        token: JoinTokenId(u64::from(token)),
        secret_hash: hash(token),
        attempt: JoinAttempt([token; 16]),
        addresses: addresses(node),
        zone: "b".into(),
        feature_level: 1,
    }
}

const fn set_state(node: u64, state: NodeState) -> Command {
    Command::SetNodeState {
        node: NodeId(node),
        state,
        is_forced: false,
    }
}

fn golden(name: &str, content: &str) -> String {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("tests/golden")
        .join(name);
    if std::env::var_os("RINGTAIL_GOLDEN").is_some() {
        std::fs::write(&path, content).unwrap();
    }
    std::fs::read_to_string(&path).unwrap()
}

#[test]
fn entries_of_the_log_keep_their_bytes() {
    let entries: Vec<Entry> = (1..)
        .zip(commands())
        .map(|(number, command)| entry(UnixMillis(number * 1_000), command))
        .collect();
    let lines: String = entries
        .iter()
        .map(|entry| format!("{}\n", hex::encode(entry.to_log())))
        .collect();
    let golden = golden("entries.hex", &lines);
    assert_eq!(golden, lines);
    for (line, expect) in golden.lines().zip(entries) {
        assert_eq!(Entry::from_log(&hex::decode(line).unwrap()), Ok(expect));
    }
}

#[test]
fn rows_of_the_store_keep_their_bytes() {
    let mut replica = Replica::new();
    replica.apply(vec![
        Body::Blank,
        Body::Membership(Bytes::from_static(b"members")),
    ]);
    for command in commands() {
        replica
            .run(command.clone())
            .unwrap_or_else(|error| panic!("{command}: {error}"));
    }
    replica.run(add_site("b.example")).unwrap_err();
    let rows = replica.rows();
    let lines: String = rows
        .iter()
        .map(|(name, value)| format!("{} {}\n", hex::encode(name), hex::encode(value)))
        .collect();
    let golden = golden("rows.hex", &lines);
    assert_eq!(golden, lines);

    assert_eq!(replica_of(&golden).visible(), replica.visible());
}

fn replica_of(rows: &str) -> Replica {
    let store = MemoryStore::new();
    let mut batch = GroupBatch::new();
    for line in rows.lines() {
        let (name, value) = line.split_once(' ').unwrap();
        let name = GroupKey::Group(Bytes::from(hex::decode(name).unwrap()));
        batch.put(&name, Bytes::from(hex::decode(value).unwrap()));
    }
    store.group(GROUP).unwrap().commit(batch).unwrap();
    Replica::over(store)
}

/// `entries-1.hex` and `rows-1.hex` were written before nodes had peers; nobody writes them anew.
#[test]
fn a_directory_of_one_node_opens_as_the_first_node_of_a_ring() {
    let entries = include_str!("golden/entries-1.hex");
    let now: Vec<String> = (1..)
        .zip(commands())
        .map(|(number, command)| entry(UnixMillis(number * 1_000), command))
        .map(|entry| hex::encode(entry.to_log()))
        .collect();
    let before: Vec<&str> = entries.lines().collect();
    assert_eq!(before, now[..before.len()]);

    let mut replica = replica_of(include_str!("golden/rows-1.hex"));
    let directory = replica.directory();
    let nodes = directory.nodes();
    assert_eq!(nodes.len(), 1);
    assert_eq!(
        (nodes[0].id, nodes[0].state, nodes[0].feature_level),
        (NodeId(1), NodeState::Active, 0)
    );
    assert_eq!(
        (&*nodes[0].addresses.http, &*nodes[0].addresses.peer),
        ("127.0.0.1:8080", "")
    );
    let placement = directory.placement();
    assert_eq!(placement.len(), 17);
    let alone = GroupPlacement::alone(NodeId(1));
    assert!(placement.values().all(|place| *place == alone));
    assert_eq!((directory.replicas_max(), directory.feature_gate()), (3, 0));

    // And it goes on from there.
    assert_eq!(
        replica.run(create_token(1)),
        Ok(Outcome::JoinToken(JoinTokenId(1)))
    );
    assert_eq!(replica.run(join(1, 2)), Ok(Outcome::Node(NodeId(2))));
}

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
    ClusterId, Command, Entry, GoalCondition, GoalId, KeyId, Limits, NodeAddresses, OptionsChange,
    Scope,
};
use ringtail_proto::{NodeId, SiteId, UnixMillis};
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
    ]
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

    let store = MemoryStore::new();
    let mut batch = GroupBatch::new();
    for line in golden.lines() {
        let (name, value) = line.split_once(' ').unwrap();
        let name = GroupKey::Group(Bytes::from(hex::decode(name).unwrap()));
        batch.put(&name, Bytes::from(hex::decode(value).unwrap()));
    }
    store.group(GROUP).unwrap().commit(batch).unwrap();
    assert_eq!(Replica::over(store).visible(), replica.visible());
}

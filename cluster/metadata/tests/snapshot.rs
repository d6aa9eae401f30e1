//! Group 0's rows from one node to another: whole, or not at all.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test may fail by panic"
)]

mod support;

use bytes::Bytes;
use ringtail_metadata::{Command, JoinTokenId, KeyId, Limits, NodeAddresses, Scope};
use ringtail_proto::{LogIndex, NodeId, SiteId, UnixMillis};
use ringtail_raft::{Body, Floor, Machine as _, SnapshotPart};
use support::{Replica, add_site, hash};

/// A ring with something of everything.
fn sender() -> Replica {
    let mut replica = Replica::initialised(Limits::default());
    replica.apply(vec![Body::Membership(Bytes::from_static(b"members"))]);
    let register = Command::RegisterNode {
        node: NodeId(1),
        addresses: NodeAddresses::default(),
    };
    let token = Command::CreateJoinToken {
        name: "a node".into(),
        secret_hash: hash(9),
        expires: UnixMillis(9_000_000),
    };
    let key = Command::AddKey {
        name: "key".into(),
        scope: Scope::Read,
        site: None,
        secret_hash: hash(1),
        expires: None,
    };
    for command in [register, token, key] {
        replica.run(command).unwrap();
    }
    for number in 0..200 {
        replica
            .run(add_site(&format!("s{number}.example")))
            .unwrap();
    }
    replica
}

/// A replica of the same ring that has fallen behind, with a site that is no more.
fn receiver() -> Replica {
    let mut replica = Replica::initialised(Limits::default());
    replica.run(add_site("old.example")).unwrap();
    replica
}

async fn parts(replica: &Replica) -> (Floor, Vec<SnapshotPart>) {
    let (floor, mut source) = replica.machine.snapshot().await.unwrap();
    let mut parts = Vec::new();
    while let Some(part) = source.next().await.unwrap() {
        parts.push(part);
    }
    (floor, parts)
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap()
}

#[test]
fn a_replica_becomes_like_the_sender_at_once_for_all_who_look() {
    let mut sender = sender();
    let (floor, mut source) = runtime().block_on(sender.machine.snapshot()).unwrap();
    let (visible, rows) = (sender.visible(), sender.rows());
    let position = sender.machine.floor_now();
    assert_eq!(floor, position);
    // What comes later is not in it.
    sender.run(add_site("later.example")).unwrap();

    let mut receiver = receiver();
    let directory = receiver.directory();
    let mut applied = receiver.machine.applied();
    applied.mark_unchanged();
    let received = runtime().block_on(async {
        let mut sink = receiver.machine.receive_snapshot().await.unwrap();
        while let Some(part) = source.next().await.unwrap() {
            // One row at a time is allowed too.
            for row in part.rows {
                sink.put(SnapshotPart { rows: vec![row] }).await.unwrap();
                assert!(directory.site_by_domain("old.example").is_some());
                assert_eq!(directory.site_count(), 1);
            }
        }
        assert!(!applied.has_changed().unwrap());
        sink.finish().await.unwrap()
    });
    assert_eq!(received, floor);
    assert_eq!((receiver.visible(), receiver.rows()), (visible, rows));
    // Whoever looked before looks at the new state now, and was told.
    assert!(directory.site_by_domain("old.example").is_none());
    assert_eq!(directory.site_count(), 200);
    assert!(directory.key_of_hash(&hash(1)).is_some());
    assert_eq!(directory.join_tokens()[0].id, JoinTokenId(1));
    assert!(applied.has_changed().unwrap());
    assert_eq!(*applied.borrow(), position.position.unwrap().index);

    // It goes on with the log behind it, and is still so after a crash: what arrived is durable.
    let later = sender.log.last().unwrap().clone();
    support::apply(&receiver.machine, vec![later]);
    assert_eq!(receiver.visible(), sender.visible());
    receiver.crash(0);
    assert_eq!(receiver.machine.floor_now(), floor);
    assert_eq!(receiver.directory().site_count(), 200);
}

#[test]
fn what_does_not_arrive_whole_changes_nothing() {
    let mut receiver = receiver();
    let (visible, rows) = (receiver.visible(), receiver.rows());
    let (_, parts) = runtime().block_on(parts(&sender()));
    runtime().block_on(async {
        let mut sink = receiver.machine.receive_snapshot().await.unwrap();
        sink.put(parts[0].clone()).await.unwrap();
        drop(sink);
    });
    assert_eq!(
        (receiver.visible(), receiver.rows()),
        (visible.clone(), rows.clone())
    );

    // Rows out of order or of nothing that is known end it.
    let mut backwards = parts[0].clone();
    backwards.rows.reverse();
    let no_row = |key: &'static [u8]| SnapshotPart {
        rows: vec![(Bytes::from_static(key), Bytes::new())],
    };
    for bad in [backwards, no_row(b""), no_row(b"\xff")] {
        runtime().block_on(async {
            let mut sink = receiver.machine.receive_snapshot().await.unwrap();
            assert!(sink.put(bad).await.is_err());
            assert!(sink.put(parts[0].clone()).await.is_err());
            assert!(sink.finish().await.is_err());
        });
        assert_eq!(
            (receiver.visible(), receiver.rows()),
            (visible.clone(), rows.clone())
        );
    }
    // And the replica goes on.
    receiver.run(add_site("more.example")).unwrap();
    assert_eq!(receiver.directory().site_count(), 2);
}

#[test]
fn uses_of_keys_that_are_not_written_yet_are_not_lost() {
    let sender = sender();
    let mut receiver = Replica::initialised(Limits::default());
    support::apply(&receiver.machine, sender.log[1..].to_vec());
    let secret = "a secret";
    let key = Command::AddKey {
        name: "used".into(),
        scope: Scope::Read,
        site: None,
        secret_hash: ringtail_metadata::SecretHash::of(secret),
        expires: None,
    };
    let mut sender = sender;
    sender.run(key.clone()).unwrap();
    let last = sender.log.last().unwrap().clone();
    support::apply(&receiver.machine, vec![last]);
    let directory = receiver.directory();
    directory.key_by_secret(secret, UnixMillis(77)).unwrap();
    sender.run(add_site("more.example")).unwrap();
    runtime().block_on(async {
        let (_, parts) = parts(&sender).await;
        let mut sink = receiver.machine.receive_snapshot().await.unwrap();
        for part in parts {
            sink.put(part).await.unwrap();
        }
        sink.finish().await.unwrap();
    });
    assert_eq!(directory.unwritten_uses(9), [(KeyId(2), UnixMillis(77))]);
    assert!(directory.site(SiteId(201)).is_some());
    assert!(*receiver.machine.applied().borrow() > LogIndex(200));
    receiver.reopen();
}

#[test]
fn parts_are_bounded() {
    let mut sender = sender();
    for number in 200..6_000 {
        let name = format!("{}.s{number}.example", "x".repeat(60));
        sender.run(add_site(&name)).unwrap();
    }
    let (_, parts) = runtime().block_on(parts(&sender));
    assert!(parts.len() > 1, "{} parts", parts.len());
    for part in &parts {
        let bytes: usize = part
            .rows
            .iter()
            .map(|(key, value)| key.len() + value.len())
            .sum();
        assert!(bytes <= ringtail_raft::SNAPSHOT_PART_BYTES_MAX, "{bytes}");
    }
}

//! Seals, copies, merges and repairs over real groups, the real log and real directories.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

mod support;

use std::{fs, sync::atomic::Ordering};

use ringtail_archive::{Archive, ArchiveError, ArchiveOptions, Location, verify};
use ringtail_proto::{
    GroupId,
    stored::{ArchiveChange, ArchiveObject},
};
use support::{
    GROUP, Ring, eager,
    faults::{ALWAYS, Fault, FaultStore},
    three_of, tidy, until,
};

fn bucket() -> ArchiveOptions {
    ArchiveOptions {
        retry_ms_max: 200,
        ..ArchiveOptions::new(Location::parse("s3://bucket").unwrap())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn seals_hold_over_a_change_of_leaders_and_every_node_has_every_object() {
    let ring = Ring::new(eager());
    let [first, second, third] = ring.found_three().await;
    first.submit(1..4).await;
    first.seal().await;
    second.lead(&first).await;
    second.submit(4..7).await;
    second.seal().await;
    first.stop().await;
    until("one of two leads", async || {
        let leads = |node: &support::RingNode| node.partitions().group(GROUP).unwrap().is_leader();
        leads(&second) || leads(&third)
    })
    .await;
    let leader = match second.partitions().group(GROUP).unwrap().is_leader() {
        true => &second,
        false => &third,
    };
    leader.submit(7..8).await;
    leader.seal().await;
    for node in [&second, &third] {
        until("it has all objects", async || {
            node.archivist.run_once(false).await;
            let objects = node.objects();
            objects == leader.objects() && node.partitions().unheld(GROUP).unwrap().is_empty()
        })
        .await;
        for object in node.objects().values() {
            verify(&node.archive, object).await.unwrap();
        }
        node.assert_archived(1..8).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_log_goes_only_when_the_node_has_what_was_sealed() {
    let ring = Ring::new(eager());
    let [first, second, third] = ring.found_three().await;
    first.submit(1..3).await;
    first.seal().await;
    let sealed = first
        .partitions()
        .archive_state(GROUP)
        .unwrap()
        .sealed
        .unwrap();
    let floor = |node: &support::RingNode| {
        let status = node.partitions().status();
        let status = status.iter().find(|status| status.group == GROUP).unwrap();
        status.floor.unwrap_or_default()
    };
    until("the second follows", async || {
        second.settle().await;
        second.partitions().archive_state(GROUP).unwrap().sealed == Some(sealed)
    })
    .await;
    assert!(floor(&second) < sealed, "its objects are elsewhere");
    let round = second.archivist.run_once(false).await;
    assert!(round.copies > 0 && round.failures == 0, "{round:?}");
    until("its floor follows", async || {
        second.settle().await;
        floor(&second) >= sealed
    })
    .await;
    drop(third);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_object_that_nobody_gives_is_made_again_from_the_log() {
    let ring = Ring::new(eager());
    let [first, second, third] = ring.found_three().await;
    first.submit(1..4).await;
    first.seal().await;
    // The only node that has it is gone, disk and all.
    for id in 1..=3 {
        ring.neighbours.forget(id);
    }
    until("the seal is known", async || {
        second
            .partitions()
            .archive_manifest(GROUP)
            .unwrap()
            .sealed
            .is_some()
    })
    .await;
    // Before that it does not know all verdicts that the object tells.
    second.settle().await;
    let round = second.archivist.run_once(false).await;
    assert!(round.copies > 0 && round.failures == 0, "{round:?}");
    second.assert_tidy().await;
    second.assert_archived(1..4).await;
    drop(third);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_object_is_fetched_again() {
    let ring = Ring::new(eager());
    let [first, second, third] = ring.found_three().await;
    first.submit(1..4).await;
    first.seal().await;
    until("the second has all", async || {
        second.archivist.run_once(false).await;
        second.objects() == first.objects() && second.partitions().unheld(GROUP).unwrap().is_empty()
    })
    .await;
    second.settle().await;
    let object = second.objects().into_values().next().unwrap();
    let path = std::str::from_utf8(&object.path).unwrap();
    let file = second.directory().join("archive").join(path);
    let mut bytes = fs::read(&file).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&file, bytes).unwrap();
    let error = verify(&second.archive, &object).await.unwrap_err();
    assert!(matches!(error, ArchiveError::Damaged { .. }), "{error}");
    assert!(second.archivist.note_damaged(&object).unwrap());
    assert_eq!(second.archivist.run_once(false).await.copies, 1);
    second.assert_tidy().await;
    drop(third);
}

#[tokio::test(flavor = "multi_thread")]
async fn small_objects_become_one_and_what_was_replaced_goes_on_every_node() {
    let ring = Ring::new(tidy());
    let [first, second, third] = ring.found_three().await;
    for visitor in 1..6 {
        first.submit(visitor..visitor + 1).await;
        first.seal().await;
    }
    until("one object is left of each table", async || {
        first.archivist.run_once(true).await;
        first.objects().len() == 1 && first.listed().await.len() == 1
    })
    .await;
    first.assert_archived(1..6).await;
    until("the second has it and nothing else", async || {
        second.archivist.run_once(false).await;
        second.objects() == first.objects() && second.listed().await == first.listed().await
    })
    .await;
    second.assert_tidy().await;
    second.assert_archived(1..6).await;
    drop(third);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_void_seal_leaves_nothing() {
    let ring = Ring::new(eager());
    let store = FaultStore::new();
    let archive = Archive::open_store(std::sync::Arc::new(store.clone()), bucket(), "ring");
    let node = ring.start_over(1, &[GROUP], archive.await.unwrap()).await;
    node.initialize().await;
    node.submit(1..3).await;
    node.settle().await;
    let writes = store.writes();
    let gate = store.hold_writes().await;
    let round = tokio::join!(node.archivist.run_once(true), async {
        until("the seal is being written", async || {
            store.writes() > writes
        })
        .await;
        // The same entries are sealed meanwhile.
        let limits = ringtail_partition::SealLimits {
            bytes_max: u64::MAX,
            events_max: u64::MAX,
        };
        let unsealed = node
            .partitions()
            .unsealed(GROUP, limits)
            .await
            .unwrap()
            .unwrap();
        let state = node.partitions().archive_state(GROUP).unwrap();
        let change = ArchiveChange {
            seal: Some(unsealed.seal),
            term: state.leading_term.unwrap(),
            ..ArchiveChange::default()
        };
        assert!(
            node.partitions()
                .change_archive(GROUP, change)
                .await
                .unwrap()
        );
        drop(gate);
    });
    assert_eq!((round.0.seals, round.0.failures), (0, 0));
    assert!(node.objects().is_empty());
    node.assert_tidy().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_seal_that_was_begun_under_an_earlier_leadership_is_void_and_leaves_nothing() {
    let ring = Ring::new(eager());
    let store = FaultStore::new();
    let node = async |id: u64, hosted: &[GroupId]| {
        let patient = ArchiveOptions {
            retry_ms_max: support::PATIENCE.as_millis() as u64,
            ..bucket()
        };
        let archive = Archive::open_store(std::sync::Arc::new(store.clone()), patient, "ring");
        ring.start_over(id, hosted, archive.await.unwrap()).await
    };
    let first = node(1, &[GROUP]).await;
    first.initialize().await;
    let others = [node(2, &[]).await, node(3, &[]).await];
    let [first, second, _third] = three_of(first, others).await;
    first.submit(1..3).await;
    first.settle().await;
    let gate = store.hold_writes().await;
    let before = store.writes();
    let round = tokio::join!(first.archivist.run_once(true), async {
        until("the seal is being written", async || {
            store.writes() > before
        })
        .await;
        second.lead(&first).await;
        first.lead(&second).await;
        // What it proposes is taken again.
        first.submit(3..4).await;
        drop(gate);
    });
    assert_eq!((round.0.seals, round.0.failures), (0, 0));
    assert!(first.objects().is_empty());
    first.assert_tidy().await;
    first.seal().await;
    first.assert_archived(1..4).await;
    first.assert_tidy().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_leader_left_behind_is_cleaned_up_by_the_next_one_and_what_is_named_stays() {
    let ring = Ring::new(tidy());
    let store = FaultStore::new();
    let archive = Archive::open_store(std::sync::Arc::new(store.clone()), bucket(), "ring");
    let node = ring.start_over(1, &[GROUP], archive.await.unwrap()).await;
    node.initialize().await;
    node.submit(1..3).await;
    node.seal().await;
    let named = node.objects().into_values().next().unwrap();
    // As a leader before would have left it, and as one to come may have put it.
    for term in [0, 1_000] {
        let bytes = node.archive.get(&named).await.unwrap();
        let left = ringtail_archive::BuiltObject {
            object: named.clone(),
            bytes,
        };
        node.archive.put(&left.of_term(term)).await.unwrap();
    }
    assert_eq!(node.listed().await.len(), 3);
    until("it is cleaned up", async || {
        node.archivist.run_once(false).await;
        node.listed().await.len() == 2
    })
    .await;
    let kept = node.listed().await;
    assert!(kept.iter().any(|path| path.contains("-1000-")), "{kept:?}");
    node.assert_archived(1..3).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bucket_that_is_away_holds_up_seals_and_loses_nothing() {
    let ring = Ring::new(eager());
    let store = FaultStore::new();
    let archive = Archive::open_store(std::sync::Arc::new(store.clone()), bucket(), "ring");
    let node = ring.start_over(1, &[GROUP], archive.await.unwrap()).await;
    node.initialize().await;
    node.submit(1..2).await;
    node.seal().await;
    store.set(Fault::Unavailable, ALWAYS);
    for visitor in 2..5 {
        node.submit(visitor..visitor + 1).await;
        node.settle().await;
        let round = node.archivist.run_once(true).await;
        assert_eq!((round.seals, round.failures), (0, 1));
    }
    store.set(Fault::Unavailable, 0);
    store.set(Fault::AnswerLost, 3);
    store.set(Fault::HalfWritten, 2);
    node.seal().await;
    node.assert_archived(1..5).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_archive_holds_up_seals_and_loses_nothing() {
    let ring = Ring::new(eager());
    let store = FaultStore::new();
    let archive = Archive::open_store(std::sync::Arc::new(store.clone()), bucket(), "ring");
    let node = ring.start_over(1, &[GROUP], archive.await.unwrap()).await;
    node.initialize().await;
    node.submit(1..3).await;
    node.settle().await;
    store.set(Fault::Full, ALWAYS);
    let round = node.archivist.run_once(true).await;
    assert_eq!((round.seals, round.failures), (0, 1));
    store.set(Fault::Full, 0);
    node.seal().await;
    node.assert_archived(1..3).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn on_a_nearly_full_disk_seals_go_on_and_merges_wait_and_nothing_is_lost() {
    let ring = Ring::new(tidy());
    let node = ring.found().await;
    for visitor in 1..4 {
        // Less than the reserve, and more than a quarter of it.
        ring.free.0.store(500_000, Ordering::Relaxed);
        node.submit(visitor..visitor + 1).await;
        until("it is sealed", async || {
            node.settle().await;
            node.archivist.run_once(true).await;
            let state = node.partitions().archive_state(GROUP).unwrap();
            state.unsealed.is_none()
        })
        .await;
    }
    assert!(node.objects().len() >= 3, "merges wait");
    ring.free.0.store(200_000, Ordering::Relaxed);
    node.submit(4..5).await;
    node.settle().await;
    let round = node.archivist.run_once(true).await;
    assert_eq!((round.seals, round.failures), (0, 1));
    ring.free.0.store(u64::MAX, Ordering::Relaxed);
    node.seal().await;
    until("it is merged", async || {
        node.archivist.run_once(true).await;
        node.objects().len() == 1
    })
    .await;
    node.assert_archived(1..5).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_seal_is_bounded_by_events_and_all_of_them_are_sealed() {
    let ring = Ring::new(support::few_events(7));
    let node = ring.found().await;
    node.submit(1..5).await;
    node.seal().await;
    assert!(node.objects().values().all(|object| object.rows <= 7));
    node.assert_archived(1..5).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_object_that_cannot_be_read_keeps_no_others_from_being_merged_and_is_got_again() {
    let ring = Ring::new(tidy());
    let [first, second, third] = ring.found_three().await;
    // Too few of a day to be merged as long as it goes on.
    first.submit(1..2).await;
    first.seal().await;
    let damaged = first.objects().into_values().next().unwrap();
    until("the second has it", async || {
        second.archivist.run_once(false).await;
        second.objects() == first.objects() && second.partitions().unheld(GROUP).unwrap().is_empty()
    })
    .await;
    let file = |node: &support::RingNode, object: &ArchiveObject| {
        let path = std::str::from_utf8(&object.path).unwrap();
        node.directory().join("archive").join(path)
    };
    let good = fs::read(file(&first, &damaged)).unwrap();
    fs::write(file(&first, &damaged), &good[1..]).unwrap();
    for visitor in 2..4 {
        first.submit(visitor..visitor + 1).await;
        first.seal().await;
    }
    until("the others are merged and it is whole again", async || {
        first.archivist.run_once(false).await;
        let objects = first.objects();
        let is_whole = fs::read(file(&first, &damaged)).is_ok_and(|bytes| bytes == good);
        let is_apart = objects.contains_key(&damaged.path);
        is_whole && is_apart && objects.len() == 2
    })
    .await;
    first.assert_archived(1..4).await;
    drop((second, third));
}

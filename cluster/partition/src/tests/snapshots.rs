//! Snapshots: a replica that got a peer's rows is the same as one that applied everything.

use std::{sync::Arc, sync::atomic::Ordering};

use bytes::Bytes;
use futures::{FutureExt as _, future::join3};
use ringtail_checkpoint::{GroupBatch, GroupKey, GroupStore, StoreError};
use ringtail_proto::{GroupId, HourStart, LogIndex, SiteGeneration, SiteId, SiteRow};
use ringtail_raft::{Body, Floor, Machine as _, SNAPSHOT_PART_BYTES_MAX, SnapshotPart};

use super::{
    adding_machine::{PANIC, REFUSE, stored_ids},
    world::{GROUP, Process, TestEvent, World, add, run},
};
use crate::{PartitionError, SiteError, site_actor::Checkpoint};

/// All parts that a replica sends, and the floor that it names.
pub(super) async fn sent(from: &Process) -> (Floor, Vec<SnapshotPart>) {
    let (floor, mut source) = from.raft.snapshot().await.unwrap();
    let mut parts = Vec::new();
    while let Some(part) = source.next().await.unwrap() {
        parts.push(part);
    }
    (floor, parts)
}

pub(super) async fn receive(to: &Process, parts: Vec<SnapshotPart>) -> Result<Floor, String> {
    let sink = to.raft.receive_snapshot().await;
    let mut sink = sink.map_err(|error| error.to_string())?;
    for part in parts {
        let put = sink.put(part).await;
        put.map_err(|error| error.to_string())?;
    }
    sink.finish().await.map_err(|error| error.to_string())
}

/// Hands over the rows, and the log as far as it is kept.
pub(super) async fn transfer(from: &Process, to: &Process) -> u64 {
    let (floor, parts) = sent(from).await;
    let received = receive(to, parts).await.unwrap();
    assert_eq!(received, floor);
    assert_eq!(to.raft.floor().await.unwrap(), floor);
    floor.position.unwrap().index.0
}

/// A replica of its own, that has nothing yet.
pub(super) fn joiner(world: &World) -> World {
    World {
        options: world.options.clone(),
        ..World::new()
    }
}

async fn catch_up(process: &Process, world: &World, from: &World, at_once: usize) {
    world.log.copy(&from.log);
    let applied = process.partition.applied().0;
    let applied = applied.map_or(0, |position| position.index.0);
    for run in world.log.after(applied).chunks(at_once) {
        process.raft.apply(run.to_vec()).await.unwrap();
    }
}

pub(super) fn rows_of(group: &dyn GroupStore) -> Vec<(Bytes, Bytes)> {
    group.snapshot().rows_after(None, u64::MAX).unwrap()
}

#[test]
fn sites_that_are_ahead_of_the_floor_skip_what_they_hold() {
    run(async {
        let mut world = World::new();
        world.options.floor_age_ms_max = 50;
        let process = world.start().await;
        for id in 1..=5 {
            let events = [add(1, id), add(2, id), add(3, id)];
            process.apply(world.log.append_events(&events)).await;
        }
        world.pass(60);
        assert!(process.duties().await.has_raised_floor);
        for id in 10..=15 {
            let events = [
                add(1, id),
                TestEvent(2, id, id, [0, PANIC, REFUSE][id as usize % 3]),
            ];
            process.apply(world.log.append_events(&events)).await;
        }
        process.apply(world.log.append_command(3)).await;
        world.pass(20);
        let report = process.duties().await;
        assert_eq!((report.checkpoints, report.has_raised_floor), (3, false));
        process
            .apply(world.log.append_events(&[add(1, 20), add(4, 1)]))
            .await;

        let other = joiner(&world);
        let joined = other.start().await;
        assert!(!joined.partition.is_whole());
        let floor = transfer(&process, &joined).await;
        assert_eq!(floor, 5);
        assert!(joined.partition.is_whole());
        assert_eq!(
            joined.partition.applied().1,
            process.partition.floor().unwrap().stamp
        );
        let ahead = joined.partition.site_hashes().await.unwrap_err();
        assert!(matches!(ahead, PartitionError::Behind { .. }), "{ahead}");
        catch_up(&joined, &other, &world, 3).await;

        let (expected, found) = (
            process.partition.site_hashes().await.unwrap(),
            joined.partition.site_hashes().await.unwrap(),
        );
        assert_eq!(expected.index, LogIndex(13));
        assert_eq!(expected.sites.len(), 4);
        assert_eq!(found, expected);
        assert_eq!(joined.sum(2).await.poisoned, process.sum(2).await.poisoned);
        assert_eq!(joined.partition.applied(), process.partition.applied());
    });
}

#[test]
fn a_received_snapshot_survives_a_crash_and_an_unfinished_one_leaves_nothing() {
    run(async {
        let world = World::new();
        let process = world.start().await;
        process
            .apply(world.log.append_events(&[add(1, 1), add(2, 2)]))
            .await;
        let (floor, parts) = sent(&process).await;

        let other = joiner(&world);
        let joined = other.start().await;
        let mut sink = joined.raft.receive_snapshot().await.unwrap();
        sink.put(parts[0].clone()).await.unwrap();
        assert!(joined.partition.received_bytes().unwrap() > 0);
        assert!(!joined.partition.is_whole());
        drop(sink);
        joined.kill().await;
        other.memory.crash(0);
        let joined = other.start().await;
        assert_eq!(joined.raft.floor().await.unwrap(), Floor::default());
        assert_eq!(rows_of(&*joined.partition.rows()), []);
        assert_eq!(joined.partition.received_bytes(), None);

        receive(&joined, parts).await.unwrap();
        joined.kill().await;
        other.memory.crash(0);
        let joined = other.start().await;
        assert_eq!(joined.raft.floor().await.unwrap(), floor);
        assert_eq!(joined.hash(1).await, process.hash(1).await);
        assert_eq!(joined.sum(2).await.sum, 2);
    });
}

#[test]
fn a_replica_without_a_floor_makes_one_and_one_without_state_has_nothing_to_send() {
    run(async {
        let world = World::new();
        let process = world.start().await;
        let error = process.raft.snapshot().await.err().unwrap();
        assert_eq!(error.to_string(), "group 1 is not whole on this node");
        process.apply(world.log.append_events(&[add(1, 1)])).await;
        process.apply(world.log.append_events(&[add(2, 1)])).await;
        assert_eq!(process.partition.floor(), None);
        let (floor, _) = sent(&process).await;
        assert_eq!(floor.position.unwrap().index, LogIndex(2));
        process.apply(world.log.append_events(&[add(1, 2)])).await;
        let (again, _) = sent(&process).await;
        assert_eq!(again, floor, "a floor that is there is good enough");
    });
}

#[test]
fn large_values_travel_in_bounded_parts_at_a_bounded_pace() {
    run(async {
        let mut world = World::new();
        world.options.snapshot_bytes_per_second_max = 1 << 20;
        let process = world.start().await;
        process.apply(world.log.append_events(&[add(1, 1)])).await;
        let sizes = [
            0,
            1,
            700_000,
            1 << 20,
            (1 << 20) + 1,
            5_000_000,
            400_000,
            400_000,
        ];
        let mut batch = GroupBatch::new();
        for (hour, size) in (0..).zip(sizes) {
            let row = SiteRow::Rows(HourStart(hour));
            let value = Bytes::from(vec![hour as u8 + 1; size]);
            batch.put(
                &GroupKey::Site(SiteGeneration::first(SiteId(1)), row),
                value,
            );
        }
        process.partition.rows().commit(batch).unwrap();
        let before_ms = world.clock.0.load(Ordering::Relaxed);
        let (_, parts) = sent(&process).await;
        let took_ms = world.clock.0.load(Ordering::Relaxed) - before_ms;
        assert!((7_000..10_000).contains(&took_ms), "{took_ms} ms for 9 MB");
        let mut last = Bytes::new();
        for part in &parts {
            let bytes = part.rows.iter().map(|(key, value)| key.len() + value.len());
            assert!(bytes.sum::<usize>() <= SNAPSHOT_PART_BYTES_MAX);
            for (key, _) in &part.rows {
                assert!(last < *key, "keys ascend over all parts");
                last = key.clone();
            }
        }
        let other = joiner(&world);
        let joined = other.start().await;
        receive(&joined, parts).await.unwrap();
        let (sent, received) = (process.partition.rows(), joined.partition.rows());
        assert!(rows_of(&*sent) == rows_of(&*received));
    });
}

#[test]
fn views_keep_their_moment_and_actors_of_old_rows_write_nothing_more() {
    run(async {
        let world = World::new();
        let process = world.start().await;
        for id in 1..=4 {
            process.apply(world.log.append_events(&[add(1, id)])).await;
        }
        let (_, parts) = sent(&process).await;
        let behind = joiner(&world);
        let lagging = behind.start().await;
        lagging.apply(behind.log.append_events(&[add(1, 1)])).await;
        behind.pass(20);
        lagging.duties().await;
        lagging.apply(behind.log.append_events(&[add(1, 2)])).await;
        let view = lagging.view(1).await;
        let old = lagging
            .partition
            .active_address(SiteGeneration::first(SiteId(1)))
            .unwrap();
        receive(&lagging, parts).await.unwrap();

        assert_eq!(stored_ids(&view.reader).unwrap().len(), 1);
        assert_eq!((view.view.sum, view.index), (3, LogIndex(2)));
        let before = rows_of(&*lagging.partition.rows());
        // Somebody had asked it and stopped waiting.
        let written = old.send(Checkpoint).await.unwrap();
        let expected = StoreError::Replaced { group: GROUP };
        assert!(matches!(written, Err(SiteError::Store(error)) if error == expected));
        assert_eq!(rows_of(&*lagging.partition.rows()), before);
        assert_eq!(lagging.partition.sites.len(), 0);
        assert_eq!(lagging.hash(1).await, process.hash(1).await);
        assert_eq!(lagging.view(1).await.index, LogIndex(4));
    });
}

#[test]
fn a_snapshot_is_taken_over_in_the_middle_of_duties_and_questions() {
    run(async {
        let world = World::new();
        let process = world.start().await;
        for id in 1..=20 {
            let events: Vec<_> = (1..=10).map(|site| add(site, id)).collect();
            process.apply(world.log.append_events(&events)).await;
        }
        let (_, parts) = sent(&process).await;
        let other = joiner(&world);
        let joined = other.start().await;
        for id in 1..=5 {
            let events: Vec<_> = (1..=10).map(|site| add(site, id)).collect();
            joined.apply(other.log.append_events(&events)).await;
        }
        other.pass(20);
        let duties = joined.duties.run_once(false);
        let questions = async {
            for _ in 0..50 {
                let _entrance = joined.partition.enter().await.unwrap();
                let sum = joined.sum(3).await.sum;
                assert!(sum == 15 || sum == 210, "{sum} is half of something");
            }
        };
        let taken = receive(&joined, parts);
        let (report, (), taken) = join3(duties, questions, taken).await;
        report.unwrap();
        taken.unwrap();
        for site in 1..=10 {
            assert_eq!(joined.hash(site).await, process.hash(site).await);
        }
    });
}

#[test]
fn the_floors_membership_is_never_of_a_later_entry() {
    run(async {
        let world = World::new();
        let process = world.start().await;
        let membership = |name: &'static str| Body::Membership(Bytes::from_static(name.as_bytes()));
        let entries = vec![
            world.log.append(membership("first")),
            world.log.append_events(&[add(1, 1)]),
        ];
        process.raft.apply(entries).await.unwrap();
        process
            .machine
            .panics_at_checkpoint
            .store(true, Ordering::Relaxed);
        world.pass(20);
        process
            .raft
            .apply(vec![world.log.append(membership("second"))])
            .await
            .unwrap();
        // The site cannot be written, so the floor stays below it.
        assert!(process.duties().await.has_raised_floor);
        let (floor, _) = sent(&process).await;
        assert_eq!(floor.position.unwrap().index, LogIndex(1));
        assert_eq!(floor.membership.as_deref(), Some(&b"first"[..]));
        world.pass(10_000);
        assert!(process.duties().await.has_raised_floor);
        let (floor, _) = sent(&process).await;
        assert_eq!(floor.position.unwrap().index, LogIndex(3));
        assert_eq!(floor.membership.as_deref(), Some(&b"second"[..]));
        process.kill().await;
        let process = world.start().await;
        process.apply(world.log.append_events(&[add(1, 2)])).await;
        world.pass(20);
        process.duties().await;
        let (later, _) = sent(&process).await;
        assert_eq!(later.position.unwrap().index, LogIndex(4));
        assert_eq!(later.membership, floor.membership);
    });
}

#[test]
fn entries_that_leave_a_gap_stop_the_partition() {
    run(async {
        let world = World::new();
        let process = world.start().await;
        let first = world.log.append_events(&[add(1, 1)]);
        let second = world.log.append_events(&[add(1, 2)]);
        let error = process.raft.apply(vec![second]).await.unwrap_err();
        assert!(error.to_string().contains("does not follow"), "{error}");
        assert!(
            process.raft.apply(vec![first]).await.is_err(),
            "it has stopped"
        );
        assert!(!process.partition.is_whole());
    });
}

#[test]
fn hashes_of_all_sites_are_taken_between_entries() {
    run(async {
        let mut world = World::new();
        world.options.dirty_age_ms_max = u64::MAX;
        let process = Arc::new(world.start().await);
        let reference = joiner(&world);
        let untouched = reference.start().await;
        for round in 0..10 {
            let entries: Vec<_> = (1..=5)
                .map(|entry| {
                    let id = round * 10 + entry;
                    let events = [add(1, id), add(2, id), add(entry, 1_000 + id)];
                    reference.log.append_events(&events);
                    world.log.append_events(&events)
                })
                .collect();
            let (applied, hashes, _) = join3(
                process.raft.apply(entries),
                process.partition.site_hashes(),
                async {},
            )
            .await;
            applied.unwrap();
            let hashes = match hashes {
                Err(PartitionError::NotWhole(_)) if round == 0 => continue,
                hashes => hashes.unwrap(),
            };
            let applied = untouched
                .partition
                .applied()
                .0
                .map_or(0, |position| position.index.0);
            let upto = hashes.index.0 - applied;
            for entry in reference.log.after(applied).into_iter().take(upto as usize) {
                untouched.raft.apply(vec![entry]).await.unwrap();
            }
            assert_eq!(untouched.partition.site_hashes().await.unwrap(), hashes);
        }
        // Sites at rest are hashed, too, and rest on.
        world.options.dirty_age_ms_max = 10;
        process.duties.run_once(true).await.unwrap();
        world.pass(1_000);
        process.duties().await;
        assert_eq!(process.partition.sites.len(), 0);
        assert_eq!(
            process.partition.site_hashes().await.unwrap().sites.len(),
            5
        );
        assert_eq!(process.partition.sites.len(), 0);
    });
}

#[test]
fn a_group_that_is_gone_lets_nobody_in() {
    run(async {
        let world = World::new();
        let process = world.start().await;
        process.apply(world.log.append_events(&[add(1, 1)])).await;
        process.partition.close().await;
        let entered = process.partition.enter().await.map(drop);
        assert!(matches!(entered, Err(PartitionError::NotHere(GroupId(1)))));
        assert!(process.duties.run_once(false).await.is_err());
        let late = world.log.append_events(&[add(1, 2)]);
        assert!(process.raft.apply(vec![late]).await.is_err());
        assert_eq!(process.partition.sites.len(), 0);
        assert!(process.node.failure.wait().now_or_never().is_none());
    });
}

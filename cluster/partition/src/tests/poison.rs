//! Entries that cannot be applied, and states that were lost.

use std::sync::atomic::Ordering;

use bytes::Bytes;
use futures::FutureExt as _;
use ringtail_checkpoint::StoreError;
use ringtail_proto::Verdict::{Accepted, Duplicate};
use ringtail_raft::{Body, Machine as _};

use super::{
    adding_machine::{PANIC, POISONED, REFUSE},
    world::{TestEvent, World, add, run},
};

#[test]
fn a_poisoned_entry_is_skipped_for_its_site_alone() {
    for action in [PANIC, REFUSE] {
        run(async {
            let world = World::new();
            let process = world.start().await;
            process.apply(world.log.append_events(&[add(1, 1)])).await;
            process
                .apply(world.log.append_events(&[add(1, 2), add(2, 2)]))
                .await;
            // Half of the site's slice is applied when it fails; another slice of the site stands behind.
            let events = [add(1, 3), TestEvent(1, 4, 4, action), add(2, 5), add(1, 6)];
            let verdicts = process.apply(world.log.append_events(&events)).await;
            assert_eq!(verdicts, [POISONED, POISONED, Accepted, POISONED]);
            let verdicts = process
                .apply(world.log.append_events(&[add(1, 3), add(1, 2)]))
                .await;
            assert_eq!(verdicts, [Accepted, Duplicate]);
            let sum = process.sum(1).await;
            assert_eq!((sum.sum, sum.count, sum.poisoned), (6, 3, 1));
            assert_eq!(process.sum(2).await.sum, 7);
            assert_eq!(world.log.reads.load(Ordering::Relaxed), 1);
        });
    }
}

#[test]
fn a_rebuild_reads_a_bounded_piece_of_the_log_at_a_time() {
    run(async {
        let mut world = World::new();
        world.options.rebuild_bytes_max = 1;
        let process = world.start().await;
        for id in 1..=6 {
            process
                .apply(world.log.append_events(&[add(1, id), add(2, id)]))
                .await;
        }
        let events = [TestEvent(1, 7, 7, PANIC)];
        process.apply(world.log.append_events(&events)).await;
        assert_eq!(process.sum(1).await.sum, 21);
        let reads = world.log.reads.load(Ordering::Relaxed);
        assert_eq!(reads, 6, "each entry is more than the bound");
    });
}

#[test]
fn a_replay_skips_what_was_poisoned_before() {
    run(async {
        let world = World::new();
        let process = world.start().await;
        for id in 1..=9 {
            let action = if id % 3 == 0 { PANIC } else { 0 };
            process
                .apply(world.log.append_events(&[TestEvent(1, id, id, action)]))
                .await;
        }
        let before = (process.sum(1).await, process.hash(1).await);
        assert_eq!((before.0.sum, before.0.poisoned), (27, 3));
        process.kill().await;
        let process = world.start().await;
        assert_eq!((process.sum(1).await, process.hash(1).await), before);
    });
}

#[test]
fn a_clean_site_is_rebuilt_without_the_log() {
    run(async {
        let world = World::new();
        let process = world.start().await;
        process.apply(world.log.append_events(&[add(1, 1)])).await;
        world.pass(20);
        assert_eq!(process.duties().await.checkpoints, 1);
        process
            .apply(world.log.append_events(&[TestEvent(1, 2, 2, PANIC)]))
            .await;
        assert_eq!(process.sum(1).await.sum, 1);
        assert_eq!(world.log.reads.load(Ordering::Relaxed), 0);
    });
}

#[test]
fn a_dead_actor_is_replaced_and_catches_up() {
    run(async {
        let world = World::new();
        let process = world.start().await;
        for id in 1..=5 {
            process.apply(world.log.append_events(&[add(1, id)])).await;
        }
        process.machine.kills_actor.store(true, Ordering::Relaxed);
        let verdicts = process
            .apply(world.log.append_events(&[add(1, 6), add(1, 1)]))
            .await;
        assert_eq!(verdicts, [Accepted, Duplicate]);
        assert_eq!(process.sum(1).await.sum, 21);
        assert_eq!(world.log.reads.load(Ordering::Relaxed), 1);
    });
}

#[test]
fn a_checkpoint_that_fails_half_way_loses_nothing() {
    run(async {
        let world = World::new();
        let process = world.start().await;
        process
            .apply(world.log.append_events(&[add(1, 1), add(2, 1)]))
            .await;
        process
            .machine
            .panics_at_checkpoint
            .store(true, Ordering::Relaxed);
        world.pass(20);
        let report = process.duties().await;
        assert_eq!((report.checkpoints, report.checkpoint_failures), (1, 1));
        assert!(
            !report.has_raised_floor,
            "one site is still dirty at the first entry"
        );
        let verdicts = process
            .apply(world.log.append_events(&[add(1, 1), add(1, 2)]))
            .await;
        assert_eq!(verdicts, [Duplicate, Accepted]);
        assert_eq!(process.duties().await.checkpoints, 0, "too early");
        world.pass(2_000);
        let report = process.duties().await;
        assert_eq!((report.checkpoints, report.has_raised_floor), (1, true));
        assert_eq!(process.sum(1).await.sum, 3);
    });
}

#[test]
fn a_full_disk_keeps_states_in_memory_until_there_is_room() {
    run(async {
        let world = World::new();
        let process = world.start().await;
        process.apply(world.log.append_events(&[add(1, 1)])).await;
        world.memory.fail_with(Some(StoreError::Full {
            free_bytes: 0,
            reserve_bytes: 1,
        }));
        world.pass(20);
        let report = process.duties().await;
        assert_eq!(
            (report.checkpoint_failures, report.has_raised_floor),
            (1, false)
        );
        process.apply(world.log.append_events(&[add(1, 2)])).await;
        assert_eq!(process.sum(1).await.sum, 3);
        world.memory.fail_with(None);
        let report = process.duties().await;
        assert_eq!((report.checkpoints, report.has_raised_floor), (1, true));
        assert_eq!(
            process.machine.loads.load(Ordering::Relaxed),
            1,
            "never reloaded"
        );
    });
}

#[test]
fn a_failed_persist_raises_no_floor() {
    run(async {
        let world = World::new();
        let process = world.start().await;
        process.apply(world.log.append_events(&[add(1, 1)])).await;
        world.pass(20);
        process
            .partition
            .checkpoint_site(ringtail_proto::SiteGeneration::first(
                ringtail_proto::SiteId(1),
            ))
            .await
            .unwrap();
        let cause = "disk".to_owned();
        world.memory.fail_with(Some(StoreError::Poisoned { cause }));
        assert!(process.node.failure.wait().now_or_never().is_none());
        process.duties.run_once(false).await.unwrap_err();
        assert_eq!(
            process.node.failure.wait().await,
            "store takes no writes since an earlier one failed: disk"
        );
        assert_eq!(world.log.floor.load(Ordering::Relaxed), 0);
        assert_eq!(process.partition.floor(), None);
        process.kill().await;
        world.memory.crash(0);
        let process = world.start().await;
        assert_eq!(process.sum(1).await.sum, 1);
    });
}

#[test]
fn broken_entries_are_skipped_and_newer_ones_stop_the_partition() {
    run(async {
        let world = World::new();
        let process = world.start().await;
        for bytes in [&b""[..], b"\x01\xff\xff\xff", b"\x01"] {
            let entry = world.log.append(Body::Command(Bytes::from_static(bytes)));
            assert_eq!(process.apply(entry).await, []);
        }
        process.apply(world.log.append_events(&[add(1, 1)])).await;
        assert_eq!(process.sum(1).await.sum, 1);
        let newer = world.log.append(Body::Command(Bytes::from_static(b"\x63")));
        let error = process.raft.apply(vec![newer]).await.unwrap_err();
        assert!(error.to_string().contains("version 99"), "{error}");
        let failure = process.node.failure.wait().await;
        assert_eq!(failure, format!("partition 1 has stopped: {error}"));
        let next = world.log.append_events(&[add(1, 2)]);
        process.raft.apply(vec![next]).await.unwrap_err();
        assert_eq!(
            process.sum(1).await.sum,
            1,
            "nothing is applied after a gap"
        );
    });
}

#[test]
fn a_command_is_answered_with_one_code() {
    run(async {
        let world = World::new();
        let process = world.start().await;
        let verdicts = process.apply(world.log.append_command(1)).await;
        assert_eq!(verdicts, [Accepted]);
        assert_eq!(process.sum(1).await.commands, 1);
    });
}

#[test]
fn a_read_that_fails_for_a_while_delays_the_partition_and_stops_nothing() {
    run(async {
        let world = World::new();
        let process = world.start().await;
        let machine = &process.machine;
        machine.failing_loads.store(3, Ordering::Relaxed);
        let verdicts = process
            .apply(world.log.append_events(&[add(1, 1), add(2, 1)]))
            .await;
        assert_eq!(verdicts, [Accepted, Accepted]);
        // The next actor needs rows and log; neither answers at first.
        machine.kills_actor.store(true, Ordering::Relaxed);
        machine.failing_loads.store(2, Ordering::Relaxed);
        world.log.failing_reads.store(2, Ordering::Relaxed);
        let verdicts = process
            .apply(world.log.append_events(&[add(1, 1), add(1, 2)]))
            .await;
        assert_eq!(verdicts, [Duplicate, Accepted]);
        assert_eq!(process.sum(1).await.sum, 3);
        assert_eq!(process.partition.failure(), None);
    });
}

#[test]
fn a_read_that_keeps_failing_stops_the_partition_and_so_does_damage_at_once() {
    run(async {
        let world = World::new();
        let process = world.start().await;
        process
            .machine
            .failing_loads
            .store(u64::MAX, Ordering::Relaxed);
        let entry = world.log.append_events(&[add(1, 1)]);
        process.raft.apply(vec![entry]).await.unwrap_err();
        assert_eq!(process.machine.loads.load(Ordering::Relaxed), 11);
        assert_eq!(
            process.partition.now_ms(),
            50 + 100 + 200 + 400 + 800 + 5_000
        );
    });
    run(async {
        let world = World::new();
        let process = world.start().await;
        process.machine.finds_damage.store(true, Ordering::Relaxed);
        let entry = world.log.append_events(&[add(1, 1)]);
        process.raft.apply(vec![entry]).await.unwrap_err();
        assert_eq!(process.machine.loads.load(Ordering::Relaxed), 1);
        assert!(process.partition.failure().is_some());
    });
}

#[test]
fn a_site_that_keeps_failing_is_tried_less_and_less_often() {
    run(async {
        let world = World::new();
        let process = world.start().await;
        process.apply(world.log.append_events(&[add(1, 1)])).await;
        let failing = || process.partition.sites.readings()[0].1.failures;
        for second in 1..=1_000 {
            let machine = &process.machine;
            machine.panics_at_checkpoint.store(true, Ordering::Relaxed);
            world.pass(1_000);
            let report = process.duties().await;
            assert_eq!(report.checkpoints, 0, "second {second}");
        }
        // Tried at second 1, 3, 7, 15 ... 511, then every 300.
        assert_eq!(failing(), 10);
        let machine = &process.machine;
        machine.panics_at_checkpoint.store(false, Ordering::Relaxed);
        world.pass(300_000);
        assert_eq!(process.duties().await.checkpoints, 1);
        assert_eq!(failing(), 0);
    });
}

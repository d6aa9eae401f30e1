//! Rounds of duties.

use std::sync::atomic::Ordering;

use bytes::Bytes;
use ringtail_proto::{LogIndex, SiteGeneration, SiteId, UnixMillis};
use ringtail_raft::{Body, Machine as _};

use super::{
    adding_machine::{LATE, WANT_CHECKPOINT, pages, rolled_up_pages},
    world::{TestEvent, World, add, run},
};
use crate::{
    SiteMachine as _,
    site_actor::{BeginRollUp, FinishRollUp},
};

#[test]
fn the_floor_stays_below_the_first_entry_that_only_memory_holds() {
    run(async {
        let world = World::new();
        let process = world.start().await;
        process.apply(world.log.append_events(&[add(1, 1)])).await;
        world.pass(5);
        process.apply(world.log.append_events(&[add(2, 2)])).await;
        process.apply(world.log.append_events(&[add(1, 3)])).await;
        world.pass(5);
        let report = process.duties().await;
        assert_eq!((report.checkpoints, report.has_raised_floor), (1, true));
        assert_eq!(
            world.log.floor.load(Ordering::Relaxed),
            1,
            "site 2 is dirty since 2"
        );
        world.pass(5);
        process.duties().await;
        assert_eq!(world.log.floor.load(Ordering::Relaxed), 3);
        let report = process.duties().await;
        assert!(!report.has_raised_floor, "nothing new");
    });
}

#[test]
fn the_floor_carries_stamp_and_membership() {
    run(async {
        let world = World::new();
        let process = world.start().await;
        let members = Bytes::from_static(b"members");
        let replies = process
            .raft
            .apply(vec![
                world.log.append(Body::Blank),
                world.log.append(Body::Membership(members.clone())),
            ])
            .await
            .unwrap();
        assert_eq!(replies, [Bytes::new(), Bytes::new()]);
        process.apply(world.log.append_events(&[add(1, 1)])).await;
        process.duties.run_once(true).await.unwrap();
        process.kill().await;
        world.memory.crash(0);
        let process = world.start().await;
        let floor = process.raft.floor().await.unwrap();
        assert_eq!(floor.membership, Some(members));
        assert_eq!(floor.position.unwrap().index, LogIndex(3));
        assert_eq!(process.partition.applied().1, UnixMillis(1_002));
        assert_eq!(
            process.machine.loads.load(Ordering::Relaxed),
            0,
            "nothing to replay"
        );
    });
}

#[test]
fn a_state_that_wants_a_checkpoint_gets_one_at_once_and_late_events_soon() {
    run(async {
        let world = World::new();
        let process = world.start().await;
        let events = [
            TestEvent(1, 1, 1, WANT_CHECKPOINT),
            TestEvent(2, 1, 1, LATE),
            add(3, 1),
        ];
        process.apply(world.log.append_events(&events)).await;
        assert_eq!(process.duties().await.checkpoints, 1);
        world.pass(5);
        assert_eq!(process.duties().await.checkpoints, 1);
        world.pass(5);
        assert_eq!(process.duties().await.checkpoints, 1);
        assert_eq!(process.duties().await.checkpoints, 0);
    });
}

#[test]
fn a_site_is_not_dirty_for_more_than_so_much_log() {
    run(async {
        let mut world = World::new();
        world.options.dirty_log_bytes_max = 200;
        world.options.dirty_age_ms_max = u64::MAX;
        let process = world.start().await;
        process.apply(world.log.append_events(&[add(1, 1)])).await;
        assert_eq!(process.duties().await.checkpoints, 0);
        let mut id = 1;
        while process.partition.counters.log_bytes.load(Ordering::Relaxed) < 300 {
            id += 1;
            process.apply(world.log.append_events(&[add(2, id)])).await;
        }
        let report = process.duties().await;
        assert!(report.checkpoints >= 1);
        assert!(world.log.floor.load(Ordering::Relaxed) >= 1);
    });
}

#[test]
fn pages_are_rolled_up_after_a_checkpoint() {
    run(async {
        let world = World::new();
        let process = world.start().await;
        for round in 1..=3 {
            process
                .apply(world.log.append_events(&[add(1, round)]))
                .await;
            world.pass(20);
            let report = process.duties().await;
            assert_eq!((report.checkpoints, report.roll_ups), (1, 1));
            let reader = process.view(1).await.reader;
            assert_eq!(pages(&reader).unwrap() as u64, round);
            assert_eq!(rolled_up_pages(&reader), Some(round.to_string()));
        }
    });
}

#[test]
fn a_checkpoint_on_request_merges_before_it_returns() {
    run(async {
        let world = World::new();
        let process = world.start().await;
        let events = [TestEvent(1, 1, 1, LATE)];
        process.apply(world.log.append_events(&events)).await;
        let written = process
            .partition
            .checkpoint_site(SiteGeneration::first(SiteId(1)))
            .await
            .unwrap();
        let note_bytes = 8;
        assert_eq!(
            (written.rows, written.value_bytes),
            (3, 40 + 8 + 4 + note_bytes)
        );
        assert_eq!(pages(&process.view(1).await.reader).unwrap(), 1);
        let again = process
            .partition
            .checkpoint_site(SiteGeneration::first(SiteId(1)))
            .await
            .unwrap();
        assert_eq!(again.rows, 0);
        let value_bytes = &process.partition.counters.value_bytes;
        assert_eq!(value_bytes.load(Ordering::Relaxed), 52 + note_bytes);
    });
}

#[test]
fn a_roll_up_of_an_actor_that_was_replaced_is_not_written() {
    run(async {
        let world = World::new();
        let process = world.start().await;
        let partition = &process.partition;
        process.apply(world.log.append_events(&[add(1, 1)])).await;
        partition
            .checkpoint_site(SiteGeneration::first(SiteId(1)))
            .await
            .unwrap();
        let begun = partition
            .ask(SiteGeneration::first(SiteId(1)), || BeginRollUp)
            .await
            .unwrap();
        let (reader, revision) = begun.unwrap();
        let writes = process.machine.roll_up(SiteId(1), &reader).unwrap();
        // The next actor writes as many batches as the one before.
        process.machine.kills_actor.store(true, Ordering::Relaxed);
        process.apply(world.log.append_events(&[add(1, 2)])).await;
        partition
            .checkpoint_site(SiteGeneration::first(SiteId(1)))
            .await
            .unwrap();
        let finish = || FinishRollUp {
            revision,
            writes: writes.clone(),
        };
        let finished = partition
            .ask(SiteGeneration::first(SiteId(1)), finish)
            .await
            .unwrap();
        assert!(!finished.unwrap(), "its day would lack the newest page");
    });
}

#[test]
fn the_floor_follows_after_so_much_log_of_all_groups_together() {
    run(async {
        let mut world = World::new();
        world.options.floor_age_ms_max = u64::MAX;
        world.options.floor_node_log_bytes_max = 1 << 20;
        let process = world.start().await;
        process.apply(world.log.append_events(&[add(1, 1)])).await;
        world.pass(20);
        let report = process.duties().await;
        assert_eq!((report.checkpoints, report.has_raised_floor), (1, false));
        // Other groups of the node.
        let node_log_bytes = &process.partition.seams.node_log_bytes;
        node_log_bytes.fetch_add(1 << 20, Ordering::Relaxed);
        assert!(process.duties().await.has_raised_floor);
        process.apply(world.log.append_events(&[add(1, 2)])).await;
        world.pass(20);
        let report = process.duties().await;
        assert_eq!((report.checkpoints, report.has_raised_floor), (1, false));
    });
}

#[test]
fn roll_ups_beyond_a_round_are_done_in_later_ones_and_an_idle_node_does_nothing() {
    run(async {
        let mut world = World::new();
        world.options.round_roll_ups_max = 1;
        let process = world.start().await;
        let events: Vec<_> = (1..=3).map(|site| add(site, 1)).collect();
        process.apply(world.log.append_events(&events)).await;
        world.pass(20);
        let mut reports = Vec::new();
        while process.duties.roll_ups_left() > 0 || reports.is_empty() {
            reports.push(process.duties().await);
        }
        let roll_ups: Vec<_> = reports.iter().map(|report| report.roll_ups).collect();
        assert_eq!(roll_ups, [1, 1, 1, 0, 0, 0], "then a look at each");
        for site in 1..=3 {
            let reader = process.view(site).await.reader;
            assert_eq!(rolled_up_pages(&reader), Some("1".to_owned()));
        }
        world.pass(100);
        assert_eq!(process.duties().await.rests, 3);
        let loads = process.machine.loads.load(Ordering::Relaxed);
        let unpersisted = world.memory.unpersisted();
        assert_eq!(process.duties().await, crate::DutyReport::default());
        assert_eq!(process.partition.sites.len(), 0, "no site was asked");
        assert_eq!(process.machine.loads.load(Ordering::Relaxed), loads);
        assert_eq!(world.memory.unpersisted(), unpersisted);
    });
}

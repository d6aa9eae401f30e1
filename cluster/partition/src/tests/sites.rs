//! Actors: rest, budget, mailboxes, views.

use std::sync::{Arc, atomic::Ordering};

use futures::future::join_all;
use ringtail_proto::{LogIndex, UnixMillis};
use ringtail_raft::Machine as _;

use super::world::{World, add, run};

#[test]
fn a_clean_idle_site_rests_and_comes_back() {
    run(async {
        let world = World::new();
        let process = world.start().await;
        process
            .apply(world.log.append_events(&[add(1, 1), add(2, 1)]))
            .await;
        world.pass(20);
        assert_eq!(process.duties().await.rests, 0, "written, but not idle yet");
        world.pass(60);
        process.apply(world.log.append_events(&[add(2, 2)])).await;
        world.pass(60);
        assert_eq!(process.duties().await.rests, 1);
        assert_eq!(process.partition.sites.len(), 1);
        process
            .apply(world.log.append_events(&[add(1, 2), add(1, 1)]))
            .await;
        let sum = process.sum(1).await;
        assert_eq!((sum.sum, sum.count), (3, 2));
    });
}

#[test]
fn the_budget_of_active_sites_holds_and_loses_nothing() {
    run(async {
        let mut world = World::new();
        world.options.sites_active_max = 8;
        world.options.dirty_age_ms_max = u64::MAX;
        let process = world.start().await;
        for round in 0..3_u64 {
            for site in 1..=50 {
                world.pass(1);
                process
                    .apply(world.log.append_events(&[add(site, round * 100 + site)]))
                    .await;
                assert!(process.partition.sites.len() <= 8);
            }
        }
        for site in 1..=50 {
            let sum = process.sum(site).await;
            assert_eq!((sum.sum, sum.count), (300 + 3 * site, 3));
        }
        process.duties().await;
        assert!(process.partition.sites.len() <= 8, "questions count, too");
    });
}

#[test]
fn full_mailboxes_delay_and_never_drop() {
    run(async {
        let mut world = World::new();
        world.options.mailbox_messages_max = 1;
        let process = Arc::new(world.start().await);
        let mut expected = 0;
        for round in 1..=20_u64 {
            let entries: Vec<_> = (0..10)
                .map(|entry| {
                    let id = round * 1_000 + entry;
                    expected += id;
                    world.log.append_events(&[add(1, id), add(2, id)])
                })
                .collect();
            let applied = process.raft.apply(entries);
            let views = join_all((0..100).map(|_| process.view(1)));
            let (replies, views) = futures::future::join(applied, views).await;
            assert_eq!(replies.unwrap().len(), 10);
            assert_eq!(views.len(), 100);
        }
        assert_eq!(process.sum(1).await.sum, expected);
        assert_eq!(process.sum(2).await.sum, expected);
    });
}

#[test]
fn a_view_keeps_its_moment_and_knows_where_it_is() {
    run(async {
        let world = World::new();
        let process = world.start().await;
        process.apply(world.log.append_events(&[add(1, 1)])).await;
        process.apply(world.log.append_events(&[add(2, 1)])).await;
        let old = process.view(1).await;
        assert_eq!((old.index, old.stamp), (LogIndex(2), UnixMillis(1_001)));
        process.apply(world.log.append_events(&[add(1, 2)])).await;
        world.pass(20);
        process.duties().await;
        let ids = super::adding_machine::stored_ids(&old.reader).unwrap();
        assert!(ids.is_empty(), "the rows are those of the view's moment");
        assert_eq!(old.view.new_ids.len(), 1);
        let new = process.view(1).await;
        assert_eq!(
            super::adding_machine::stored_ids(&new.reader)
                .unwrap()
                .len(),
            2
        );
        assert!(new.view.new_ids.is_empty());
    });
}

#[test]
fn entries_that_come_together_cost_one_message_per_site() {
    run(async {
        let world = World::new();
        let process = world.start().await;
        let entries: Vec<_> = (1..=20)
            .map(|id| {
                world
                    .log
                    .append_events(&[add(1, id), add(2, id), add(1, id)])
            })
            .collect();
        let replies = process.raft.apply(entries).await.unwrap();
        for reply in &replies {
            let names: Vec<_> = super::world::verdicts(reply);
            use ringtail_proto::Verdict::{Accepted, Duplicate};
            assert_eq!(names, [Accepted, Accepted, Duplicate]);
        }
        assert_eq!(process.machine.loads.load(Ordering::Relaxed), 2);
        assert_eq!(process.sum(1).await.sum, 210);
    });
}

#[test]
fn room_is_made_by_writing_only_what_has_to_go() {
    run(async {
        let mut world = World::new();
        world.options.sites_active_max = 8;
        let process = world.start().await;
        for site in 1..=8 {
            world.pass(1);
            process
                .apply(world.log.append_events(&[add(site, 1)]))
                .await;
        }
        // All of them are due, one has to go.
        world.pass(20);
        process.apply(world.log.append_events(&[add(9, 1)])).await;
        let checkpoints = &process.partition.counters.checkpoints;
        assert_eq!(checkpoints.load(Ordering::Relaxed), 1);
        assert_eq!(process.partition.sites.len(), 8);
        assert_eq!(process.duties().await.checkpoints, 7);
    });
}

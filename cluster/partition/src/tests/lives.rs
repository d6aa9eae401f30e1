//! Replicas that came to the same index on different ways are the same.

use std::sync::atomic::Ordering;

use proptest::prelude::*;
use ringtail_raft::{LogPosition, Machine as _};

use super::{
    snapshots::{joiner, transfer},
    world::{Process, TestEvent, World, run},
};

/// One step of a replica's life.
#[derive(Clone, Debug)]
enum Step {
    /// So many of the next entries come together.
    Apply(usize),
    /// Time passes, then a round of duties.
    Duties(u64),
    /// Its rows go to another replica, which has applied so many entries and written some of them, and takes its place.
    Snapshot(u64),
    /// Power is lost; of what was not persisted this much survives.
    Crash(usize),
}

fn any_step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (1..7_usize).prop_map(Step::Apply),
        3 => (0..30_u64).prop_map(Step::Duties),
        2 => (0..12_u64).prop_map(Step::Snapshot),
        1 => (0..6_usize).prop_map(Step::Crash),
    ]
}

async fn check_life(entries: Vec<Vec<(u64, u64, u32)>>, steps: Vec<Step>) {
    let whole = World::new();
    let reference = whole.start().await;
    let mut world = joiner(&whole);
    for entry in &entries {
        let events: Vec<_> = entry
            .iter()
            .map(|(site, id, action)| TestEvent(*site, *id, *id, *action))
            .collect();
        world.log.append_events(&events);
        reference.apply(whole.log.append_events(&events)).await;
    }
    let last = entries.len() as u64;
    let mut process = world.start_unapplied().await;
    let applied = |process: &Process| {
        let position: Option<LogPosition> = process.partition.applied().0;
        position.map_or(0, |position| position.index.0)
    };
    for step in steps {
        match step {
            Step::Apply(count) => {
                let entries = world.log.after(applied(&process));
                let entries = entries.into_iter().take(count).collect();
                process.raft.apply(entries).await.unwrap();
            }
            Step::Duties(ms) => {
                world.pass(ms);
                process.duties().await;
            }
            Step::Snapshot(lag) if process.partition.is_whole() => {
                let other = joiner(&whole);
                other.log.copy(&whole.log);
                let joined = other.start_unapplied().await;
                let floor = process.partition.floor();
                let upto = floor.map_or(0, |floor| floor.position.index.0).min(lag);
                for entry in other.log.after(0).into_iter().take(upto as usize) {
                    if entry.position.index.0 == upto.div_ceil(2) {
                        other.pass(20);
                        joined.duties().await;
                    }
                    joined.raft.apply(vec![entry]).await.unwrap();
                }
                let floor = transfer(&process, &joined).await;
                other.log.copy(&world.log);
                other.log.floor.store(floor, Ordering::Relaxed);
                (world, process) = (other, joined);
            }
            Step::Snapshot(_) => {}
            Step::Crash(kept) => {
                process.kill().await;
                world.memory.crash(kept);
                process = world.start_unapplied().await;
            }
        }
    }
    let rest = world.log.after(applied(&process));
    process.raft.apply(rest).await.unwrap();
    assert_eq!(applied(&process), last);
    let (found, expected) = (
        process.partition.site_hashes().await.unwrap(),
        reference.partition.site_hashes().await.unwrap(),
    );
    assert_eq!(found, expected);
    assert_eq!(
        process.partition.applied().1,
        reference.partition.applied().1
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn replicas_at_the_same_index_have_the_same_hashes_however_they_came_there(
        entries in proptest::collection::vec(
            proptest::collection::vec((1..=4_u64, 1..60_u64, 0..5_u32), 1..6),
            1..40,
        ),
        steps in proptest::collection::vec(any_step(), 1..30),
    ) {
        run(check_life(entries, steps));
    }
}

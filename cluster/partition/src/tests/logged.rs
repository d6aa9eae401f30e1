//! The log with its verdicts, and who is told that it has gone.

use ringtail_proto::{
    LogIndex,
    Verdict::{Accepted, Duplicate, Late},
    stored::ArchiveChange,
};
use ringtail_raft::Body;

use super::{
    adding_machine::LATE,
    world::{Process, TestEvent, World, add, run},
};
use crate::{Logged, SealLimits, Unsealed};

/// Entry and codes of each slice.
type Told = Vec<(u64, Vec<u8>)>;

async fn logged(process: &Process, after: u64) -> Option<Logged> {
    process.partition.logged(LogIndex(after)).await.unwrap()
}

/// What the log tells from its beginning on.
async fn told(process: &Process) -> Told {
    let Some(Logged::Entries { entries, through }) = logged(process, 0).await else {
        panic!("the log has gone")
    };
    let applied = process.partition.applied().0.unwrap();
    assert_eq!(through, applied.index, "all of it is read at once");
    let slices = entries.into_iter().flat_map(|entry| {
        entry
            .codes
            .into_iter()
            .map(move |codes| (entry.index.0, codes))
    });
    slices.collect()
}

async fn unsealed(process: &Process) -> Unsealed {
    let limits = SealLimits {
        bytes_max: 1 << 20,
        events_max: 1 << 20,
    };
    let unsealed = process.partition.unsealed(limits).await.unwrap();
    unsealed.expect("something is settled")
}

/// What a seal would say of the same entries.
async fn sealed(process: &Process) -> Told {
    let found = unsealed(process).await;
    let mut slices = Vec::new();
    for entry in found.entries {
        let ringtail_proto::stored::partition_entry::Body::Events(batch) = entry.body else {
            continue;
        };
        for (slice, events) in (0..).zip(&batch.sites) {
            let noted = found.verdicts.get(&(entry.index, slice));
            let plain = vec![Accepted.code(); events.events.len()];
            slices.push((entry.index.0, noted.cloned().unwrap_or(plain)));
        }
    }
    slices
}

async fn checkpointed(world: &World, process: &Process) {
    world.pass(10);
    process.duties().await;
}

#[test]
fn the_log_tells_the_verdicts_that_the_archive_will_tell() {
    run(async {
        let mut world = World::new();
        world.options.archives = true;
        let mut process = world.start().await;
        let mut given = Told::new();
        let [duplicate, accepted, late] = [Duplicate, Accepted, Late].map(|verdict| verdict.code());
        for round in 0..4_u64 {
            let fresh = 100 * round;
            for (events, codes) in [
                (
                    vec![add(1, fresh + 1), add(1, fresh + 2)],
                    vec![vec![accepted; 2]],
                ),
                (
                    vec![add(1, fresh + 1), add(1, fresh + 3), add(2, fresh + 4)],
                    vec![vec![duplicate, accepted], vec![accepted]],
                ),
                (
                    vec![TestEvent(2, fresh + 5, 6, LATE), add(1, fresh + 3)],
                    vec![vec![late], vec![duplicate]],
                ),
            ] {
                let entry = world.log.append_events(&events);
                let index = entry.position.index.0;
                given.extend(codes.into_iter().map(|codes| (index, codes)));
                process.apply(entry).await;
                assert_eq!(told(&process).await, given, "only memory has it");
            }
            // Of what the next process finds in rows and notes, some has been told by this one and some has not.
            if round % 2 == 0 {
                checkpointed(&world, &process).await;
                assert_eq!(told(&process).await, given, "notes tell it");
                assert_eq!(sealed(&process).await, given);
            }
            let more = world.log.append_events(&[add(1, 1), add(3, 7 + round)]);
            let index = more.position.index.0;
            given.extend([(index, vec![duplicate]), (index, vec![accepted])]);
            process.apply(more).await;
            process.kill().await;
            process = world.start().await;
            assert_eq!(told(&process).await, given, "another process tells it");
        }
        checkpointed(&world, &process).await;
        assert_eq!(sealed(&process).await, given);
        assert_eq!(told(&process).await, given);
    });
}

#[test]
fn who_has_caught_up_needs_no_notes() {
    run(async {
        let world = World::new();
        let process = world.start().await;
        process
            .apply(world.log.append_events(&[add(1, 1), add(1, 1)]))
            .await;
        told(&process).await;
        for id in 2..5 {
            process
                .apply(world.log.append_events(&[add(1, id), add(1, 1)]))
                .await;
            let applied = process.partition.applied().0.unwrap().index;
            let known = process
                .partition
                .recent_verdicts
                .lock()
                .of(applied, applied);
            assert!(known.are_all);
            assert_eq!(
                known.replies[&applied][..],
                [Accepted.code(), Duplicate.code()]
            );
        }
    });
}

#[test]
fn who_heard_everything_before_a_quiet_time_misses_nothing_when_the_log_has_gone() {
    run(async {
        let world = World::new();
        let process = world.start().await;
        process.apply(world.log.append_events(&[add(1, 1)])).await;
        process.apply(world.log.append_events(&[add(1, 2)])).await;
        for _ in 0..3 {
            process.apply(world.log.append(Body::Blank)).await;
        }
        checkpointed(&world, &process).await;
        process.apply(world.log.append(Body::Blank)).await;
        let mut process = process;
        for _ in 0..2 {
            let nothing = Logged::Entries {
                entries: Vec::new(),
                through: LogIndex(5),
            };
            for (after, expect) in [
                (0, Logged::Gone(LogIndex(5))),
                (1, Logged::Gone(LogIndex(5))),
                (2, nothing.clone()),
                (4, nothing),
            ] {
                assert_eq!(logged(&process, after).await, Some(expect), "{after}");
            }
            process.kill().await;
            world.memory.crash(0);
            process = world.start().await;
        }
    });
}

#[test]
fn what_was_given_up_before_the_archive_began_is_refused_before_and_after_the_first_seal() {
    run(async {
        let mut world = World::new();
        let process = world.start().await;
        for id in 1..4 {
            process.apply(world.log.append_events(&[add(1, id)])).await;
        }
        checkpointed(&world, &process).await;
        process.kill().await;
        world.options.archives = true;
        let process = world.start().await;
        process.apply(world.log.append_events(&[add(1, 4)])).await;
        checkpointed(&world, &process).await;
        let refused = Some(Logged::Gone(LogIndex(3)));
        for after in [0, 1, 2] {
            assert_eq!(logged(&process, after).await, refused, "{after}");
        }
        let found = unsealed(&process).await;
        let change = ArchiveChange {
            seal: Some(found.seal),
            ..ArchiveChange::default()
        };
        let change = world.log.append_change(change);
        assert_eq!(process.apply(change).await, [Accepted]);
        for after in [0, 1, 2] {
            assert_eq!(logged(&process, after).await, refused, "{after}");
        }
        assert_eq!(logged(&process, 3).await, Some(Logged::Sealed));
    });
}

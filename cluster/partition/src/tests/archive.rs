//! What the archive needs, and what it has.

use std::{ops::ControlFlow, sync::atomic::Ordering};

use bytes::Bytes;
use ringtail_checkpoint::GroupKey;
use ringtail_proto::{
    Generation, LogIndex, SiteGeneration, SiteId, SiteRow,
    Verdict::{Accepted, Duplicate, Late},
    stored::{
        ArchiveChange, ArchiveObject, GenerationBegin, Seal, generation_command::Change,
        partition_entry::Body as EntryBody,
    },
};
use ringtail_raft::Body;

use super::{
    adding_machine::LATE,
    snapshots::{joiner, transfer},
    world::{Process, TestEvent, World, add, run},
};
use crate::{GenerationBuild, SealLimits, Unsealed};

const LIMITS: SealLimits = SealLimits {
    bytes_max: 1 << 20,
    events_max: 1 << 20,
};

fn archived() -> World {
    let mut world = World::new();
    world.options.archives = true;
    world
}

async fn unsealed(process: &Process) -> Option<Unsealed> {
    process.partition.unsealed(LIMITS).await.unwrap()
}

/// The change that a sealer proposes for what it was given.
fn seal_of(unsealed: &Unsealed) -> ArchiveChange {
    let path = format!("{}-{}", unsealed.entries[0].index, unsealed.seal.index);
    ArchiveChange {
        seal: Some(unsealed.seal.clone()),
        added: vec![ArchiveObject {
            path: Bytes::from(path),
            ..ArchiveObject::default()
        }],
        ..ArchiveChange::default()
    }
}

fn floor(world: &World) -> u64 {
    world.log.floor.load(Ordering::Relaxed)
}

async fn checkpointed(world: &World, process: &Process) {
    world.pass(10);
    process.duties().await;
}

#[test]
fn the_log_is_kept_until_the_archive_has_it() {
    run(async {
        let world = archived();
        let process = world.start().await;
        process.apply(world.log.append(Body::Blank)).await;
        process.apply(world.log.append_events(&[add(1, 1)])).await;
        process.apply(world.log.append_events(&[add(2, 2)])).await;
        checkpointed(&world, &process).await;
        assert_eq!(floor(&world), 1, "the blank entry says nothing to sites");
        let found = unsealed(&process).await.unwrap();
        assert_eq!(found.seal.index, 3);
        process.apply(world.log.append_events(&[add(1, 3)])).await;
        let change = world.log.append_change(seal_of(&found));
        assert_eq!(process.apply(change).await, [Accepted]);
        checkpointed(&world, &process).await;
        assert_eq!(floor(&world), 3, "entry 4 is in no seal");
        process.kill().await;
        world.memory.crash(0);
        let process = world.start().await;
        let found = unsealed(&process).await;
        assert_eq!(found.map(|found| found.seal.after_index), Some(3));
    });
}

#[test]
fn entries_that_say_nothing_to_sites_need_no_seal() {
    run(async {
        let world = archived();
        let process = world.start().await;
        process.apply(world.log.append_events(&[add(1, 1)])).await;
        checkpointed(&world, &process).await;
        let found = unsealed(&process).await.unwrap();
        let change = world.log.append_change(seal_of(&found));
        process.apply(change).await;
        process.apply(world.log.append(Body::Blank)).await;
        checkpointed(&world, &process).await;
        assert_eq!(floor(&world), 3, "the seal itself and the blank entry");
        assert_eq!(unsealed(&process).await, None);
    });
}

#[test]
fn a_second_seal_of_the_same_entries_is_void() {
    run(async {
        let world = archived();
        let process = world.start().await;
        process.apply(world.log.append_events(&[add(1, 1)])).await;
        checkpointed(&world, &process).await;
        let found = unsealed(&process).await.unwrap();
        let first = world.log.append_change(seal_of(&found));
        let second = world.log.append_change(seal_of(&found));
        assert_eq!(process.apply(first).await, [Accepted]);
        assert_eq!(process.apply(second).await, [Duplicate]);
    });
}

#[test]
fn a_seal_of_another_leader_s_term_is_void() {
    run(async {
        let world = archived();
        let process = world.start().await;
        process.apply(world.log.append_events(&[add(1, 1)])).await;
        checkpointed(&world, &process).await;
        let found = unsealed(&process).await.unwrap();
        // The term is 1 up to entry 6.
        while process.partition.applied().0.unwrap().index < LogIndex(6) {
            process.apply(world.log.append(Body::Blank)).await;
        }
        let late = ArchiveChange {
            term: 1,
            ..seal_of(&found)
        };
        let entry = ringtail_proto::stored::PartitionEntry {
            stamp_ms: 0,
            body: Some(EntryBody::Archive(late)),
        };
        let entry = world.log.append(Body::Command(entry.to_log()));
        assert_eq!(process.apply(entry).await, [Duplicate]);
        let now = world.log.append_change(seal_of(&found));
        assert_eq!(process.apply(now).await, [Accepted]);
    });
}

#[test]
fn verdicts_outlive_the_process_that_gave_them() {
    run(async {
        let world = archived();
        let process = world.start().await;
        process
            .apply(world.log.append_events(&[add(1, 1), add(2, 2)]))
            .await;
        let events = [add(1, 1), add(1, 5), TestEvent(2, 6, 6, LATE)];
        let given = process.apply(world.log.append_events(&events)).await;
        assert_eq!(given, [Duplicate, Accepted, Late]);
        checkpointed(&world, &process).await;
        process.apply(world.log.append_events(&[add(1, 5)])).await;
        process.kill().await;
        let process = world.start().await;
        checkpointed(&world, &process).await;
        let found = unsealed(&process).await.unwrap();
        let verdicts: Vec<_> = found
            .verdicts
            .into_iter()
            .map(|((index, slice), codes)| (index.0, slice, codes))
            .collect();
        let [duplicate, accepted, late] = [Duplicate, Accepted, Late].map(|verdict| verdict.code());
        assert_eq!(
            verdicts,
            [
                (2, 0, vec![duplicate, accepted]),
                (2, 1, vec![late]),
                (3, 0, vec![duplicate]),
            ]
        );
        assert_eq!(found.entries.len(), 3);
    });
}

#[test]
fn verdicts_of_a_generation_that_has_ended_are_sealed() {
    run(async {
        let world = archived();
        let process = world.start().await;
        let begin = Change::Begin(GenerationBegin {
            generation: 1,
            rules: Bytes::new(),
        });
        process.apply(world.log.append_events(&[add(1, 1)])).await;
        process.apply(world.log.append_generation(1, begin)).await;
        let second = SiteGeneration {
            site: SiteId(1),
            generation: Generation(1),
        };
        let build = GenerationBuild::begin(process.partition.clone(), second).await;
        build.unwrap().finish(LogIndex(0)).await.unwrap();
        process
            .apply(world.log.append_events(&[add(1, 1), add(1, 3)]))
            .await;
        let end = world.log.append_generation(1, Change::End(0));
        assert_eq!(process.apply(end).await, [Accepted]);
        process.apply(world.log.append_events(&[add(1, 3)])).await;
        // Neither what was said before the end nor after it is in rows yet.
        process.kill().await;
        let process = world.start().await;
        checkpointed(&world, &process).await;
        let found = unsealed(&process).await.unwrap();
        let [duplicate, accepted] = [Duplicate, Accepted].map(|verdict| verdict.code());
        let verdicts: Vec<_> = found
            .verdicts
            .clone()
            .into_iter()
            .map(|((index, slice), codes)| (index.0, slice, codes))
            .collect();
        assert_eq!(
            verdicts,
            [(3, 0, vec![duplicate, accepted]), (5, 0, vec![duplicate])]
        );
        // Once they are sealed nothing of it is left.
        process
            .apply(world.log.append_change(seal_of(&found)))
            .await;
        checkpointed(&world, &process).await;
        checkpointed(&world, &process).await;
        let birth = SiteGeneration::first(SiteId(1));
        let rows = process.partition.rows().snapshot();
        let (first, last) = (
            GroupKey::Site(birth, SiteRow::Site),
            GroupKey::Site(birth, SiteRow::Notes(LogIndex(u64::MAX), u32::MAX)),
        );
        let mut left = Vec::new();
        rows.range(&first, &last, &mut |key, _| {
            if matches!(key, GroupKey::Site(site, _) if site == birth) {
                left.push(key);
            }
            ControlFlow::Continue(())
        })
        .unwrap();
        assert_eq!(left, []);
    });
}

#[test]
fn entries_that_are_sealed_are_not_sealed_again_after_a_restart_from_a_lower_floor() {
    run(async {
        let world = archived();
        let process = world.start().await;
        for id in 1..=3 {
            process.apply(world.log.append_events(&[add(1, id)])).await;
        }
        // Another replica leads, and has settled more.
        let change = ArchiveChange {
            seal: Some(Seal {
                index: 2,
                term: 1,
                node: 1,
                ..Seal::default()
            }),
            ..ArchiveChange::default()
        };
        let sealed = process.apply(world.log.append_change(change)).await;
        assert_eq!(sealed, [Accepted]);
        let report = process.duties().await;
        assert!(!report.has_raised_floor, "the site is dirty since entry 1");
        process.kill().await;
        let process = world.start().await;
        checkpointed(&world, &process).await;
        let found = unsealed(&process).await.unwrap();
        let indexes: Vec<u64> = found.entries.iter().map(|entry| entry.index.0).collect();
        assert_eq!((found.seal.after_index, indexes), (2, vec![3]));
    });
}

#[test]
fn a_seal_ends_where_verdicts_are_not_settled_yet() {
    run(async {
        let world = archived();
        let process = world.start().await;
        process.apply(world.log.append_events(&[add(1, 1)])).await;
        assert_eq!(unsealed(&process).await, None, "only memory has it");
        checkpointed(&world, &process).await;
        process.apply(world.log.append_events(&[add(1, 2)])).await;
        let found = unsealed(&process).await.unwrap();
        assert_eq!(found.seal.index, 1);
    });
}

#[test]
fn a_replica_that_gave_up_entries_before_there_was_an_archive_seals_nothing_over_the_hole() {
    run(async {
        let mut world = World::new();
        let process = world.start().await;
        for id in 1..=3 {
            process.apply(world.log.append_events(&[add(1, id)])).await;
        }
        checkpointed(&world, &process).await;
        assert_eq!(floor(&world), 3);
        // Another replica, which archives, has begun with entry 1 and leads no more.
        let change = ArchiveChange {
            seal: Some(Seal {
                index: 1,
                term: 1,
                node: 1,
                ..Seal::default()
            }),
            ..ArchiveChange::default()
        };
        process.apply(world.log.append_change(change)).await;
        process.duties().await;
        process.kill().await;
        world.options.archives = true;
        let process = world.start().await;
        process.apply(world.log.append_events(&[add(1, 4)])).await;
        checkpointed(&world, &process).await;
        let error = process.partition.unsealed(LIMITS).await.unwrap_err();
        assert!(error.to_string().contains("entries 2..=3"), "{error}");
    });
}

#[test]
fn a_seal_is_bounded_and_has_at_least_one_entry() {
    run(async {
        let world = archived();
        let process = world.start().await;
        for id in 1..=4 {
            process.apply(world.log.append_events(&[add(1, id)])).await;
        }
        checkpointed(&world, &process).await;
        let all = unsealed(&process).await.unwrap();
        assert_eq!(all.entries.len(), 4);
        for (bytes_max, events_max, expect) in [(1, 99, 1), (99_999, 1, 1), (99_999, 3, 3)] {
            let limits = SealLimits {
                bytes_max,
                events_max,
            };
            let some = process.partition.unsealed(limits).await.unwrap().unwrap();
            assert_eq!(some.entries.len(), expect, "{limits:?}");
            assert_eq!(some.seal.index, expect as u64);
        }
    });
}

#[test]
fn notes_go_once_the_archive_has_what_they_tell() {
    run(async {
        let world = archived();
        let process = world.start().await;
        process
            .apply(world.log.append_events(&[add(1, 1), add(1, 1)]))
            .await;
        world.pass(10);
        let report = process.duties().await;
        assert_eq!(report.forgotten_notes, 0);
        let found = unsealed(&process).await.unwrap();
        assert_eq!(found.verdicts.len(), 1);
        let change = world.log.append_change(seal_of(&found));
        process.apply(change).await;
        let forgotten = process.duties().await.forgotten_notes;
        assert_eq!(forgotten, 1);
    });
}

#[test]
fn a_joiner_has_the_manifest_and_the_log_that_no_seal_holds() {
    run(async {
        let world = archived();
        let process = world.start().await;
        process.apply(world.log.append_events(&[add(1, 1)])).await;
        checkpointed(&world, &process).await;
        let found = unsealed(&process).await.unwrap();
        let change = world.log.append_change(seal_of(&found));
        process.apply(change).await;
        process
            .apply(world.log.append_events(&[add(1, 2), add(1, 1)]))
            .await;
        checkpointed(&world, &process).await;
        let other = joiner(&world);
        other.log.copy(&world.log);
        let joiner = other.start_unapplied().await;
        assert_eq!(transfer(&process, &joiner).await, 2);
        for entry in world.log.after(2) {
            joiner.apply(entry).await;
        }
        let theirs = unsealed(&process).await.unwrap();
        assert_eq!(theirs.seal.after_index, 1);
        assert_eq!(unsealed(&joiner).await, Some(theirs));
        assert_eq!(joiner.hash(1).await, process.hash(1).await);
    });
}

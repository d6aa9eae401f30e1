//! Later generations of a site: built beside it, then fed, then gone.

use std::sync::atomic::Ordering;

use bytes::Bytes;
use ringtail_proto::{
    Generation, LogIndex, SiteGeneration, SiteId,
    Verdict::{Accepted, Duplicate},
    stored::{GenerationBegin, generation_command::Change},
};
use ringtail_raft::Body;

use super::{
    adding_machine::{AddingMachine, PANIC},
    snapshots::{joiner, transfer},
    world::{Process, TestEvent, World, add, run},
};
use crate::{GenerationBuild, PartitionError};

const SITE: u64 = 1;
const SECOND: SiteGeneration = SiteGeneration {
    site: SiteId(SITE),
    generation: Generation(1),
};

fn begin(generation: u32) -> Change {
    Change::Begin(GenerationBegin {
        generation,
        rules: Bytes::new(),
    })
}

/// The second generation's build.
async fn begun(process: &Process) -> Result<GenerationBuild<AddingMachine>, PartitionError> {
    GenerationBuild::begin(process.partition.clone(), SECOND).await
}

async fn build(process: &Process) -> Result<(), PartitionError> {
    let build = begun(process).await?;
    let from = build.applied();
    build.finish(from).await
}

fn fed(process: &Process) -> Vec<u32> {
    let feeds = process.partition.feeds();
    feeds
        .of(SiteId(SITE))
        .map(|site| site.generation.0)
        .collect()
}

#[test]
fn a_generation_that_is_built_goes_on_with_live_entries() {
    run(async {
        let world = World::new();
        let process = world.start().await;
        process
            .apply(world.log.append_events(&[add(SITE, 1), add(2, 2)]))
            .await;
        let begun = process
            .apply(world.log.append_generation(SITE, begin(1)))
            .await;
        assert_eq!(begun, [Accepted]);
        process
            .apply(world.log.append_events(&[add(SITE, 4)]))
            .await;
        assert_eq!(fed(&process), [0], "it is not built yet");
        build(&process).await.unwrap();
        assert_eq!(fed(&process), [0, 1]);
        let given = process
            .apply(world.log.append_events(&[add(SITE, 8), add(SITE, 8)]))
            .await;
        assert_eq!(given, [Accepted, Duplicate], "one answer for each event");
        assert_eq!(process.hash_of(SECOND).await, process.hash(SITE).await);
        world.pass(10);
        process.duties().await;
        process.kill().await;
        world.memory.crash(0);
        let process = world.start().await;
        assert_eq!(fed(&process), [0, 1]);
        assert_eq!(process.hash_of(SECOND).await, process.hash(SITE).await);
    });
}

#[test]
fn a_build_that_was_cut_off_goes_on_where_it_was() {
    run(async {
        let world = World::new();
        let process = world.start().await;
        for id in 1..=3 {
            process
                .apply(world.log.append_events(&[add(SITE, id)]))
                .await;
        }
        process
            .apply(world.log.append_generation(SITE, begin(1)))
            .await;
        let half = begun(&process).await;
        half.unwrap()
            .take_from_log(LogIndex(1), LogIndex(2))
            .await
            .unwrap();
        process.kill().await;
        let process = world.start().await;
        assert_eq!(fed(&process), [0]);
        let rest = begun(&process).await.unwrap();
        assert_eq!(rest.applied(), LogIndex(2));
        rest.finish(LogIndex(2)).await.unwrap();
        assert_eq!(process.hash_of(SECOND).await, process.hash(SITE).await);
    });
}

#[test]
fn a_build_skips_what_the_site_skipped() {
    run(async {
        let world = World::new();
        let process = world.start().await;
        let poisoned = [add(SITE, 1), TestEvent(SITE, 2, 2, PANIC)];
        process
            .apply(world.log.append_events(&[add(SITE, 7)]))
            .await;
        process.apply(world.log.append_events(&poisoned)).await;
        process
            .apply(world.log.append_events(&[add(SITE, 9)]))
            .await;
        process
            .apply(world.log.append_generation(SITE, begin(1)))
            .await;
        build(&process).await.unwrap();
        assert_eq!(process.hash_of(SECOND).await, process.hash(SITE).await);
    });
}

#[test]
fn an_ended_generation_leaves_nothing_and_its_number_is_not_used_again() {
    run(async {
        let world = World::new();
        let process = world.start().await;
        process
            .apply(world.log.append_events(&[add(SITE, 1)]))
            .await;
        process
            .apply(world.log.append_generation(SITE, begin(1)))
            .await;
        build(&process).await.unwrap();
        world.pass(10);
        process.duties().await;
        let ended = process
            .apply(world.log.append_generation(SITE, Change::End(0)))
            .await;
        assert_eq!(ended, [Accepted]);
        let given = process
            .apply(world.log.append_events(&[add(SITE, 1), add(SITE, 2)]))
            .await;
        assert_eq!(given, [Duplicate, Accepted], "the other one answers now");
        world.pass(10);
        let report = process.duties().await;
        assert!(report.removed_rows > 0);
        assert_eq!(process.duties().await.removed_rows, 0);
        for (change, holds) in [(begin(1), Duplicate), (begin(2), Accepted)] {
            let entry = world.log.append_generation(SITE, change);
            assert_eq!(process.apply(entry).await, [holds]);
        }
        let refused = process
            .partition
            .check_fed(SiteGeneration::first(SiteId(SITE)));
        assert!(matches!(refused, Err(PartitionError::NotBuilt(_))));
        process.kill().await;
        let process = world.start().await;
        assert_eq!(fed(&process), [1]);
    });
}

#[test]
fn a_build_goes_on_where_the_log_begins_and_skips_what_the_site_skips_there() {
    run(async {
        let world = World::new();
        let process = world.start().await;
        process
            .apply(world.log.append_events(&[add(SITE, 1)]))
            .await;
        process
            .apply(world.log.append_generation(SITE, begin(1)))
            .await;
        let mut build = begun(&process).await.unwrap();
        build.take_from_log(LogIndex(1), LogIndex(1)).await.unwrap();
        world.pass(10);
        process.duties().await;
        let poisoned = [TestEvent(SITE, 2, 2, PANIC)];
        process.apply(world.log.append_events(&poisoned)).await;
        process
            .apply(world.log.append_events(&[add(SITE, 9)]))
            .await;
        build.finish(LogIndex(2)).await.unwrap();
        assert_eq!(process.hash_of(SECOND).await, process.hash(SITE).await);
    });
}

#[test]
fn a_build_ends_although_the_log_behind_it_went_in_a_quiet_time() {
    run(async {
        let world = World::new();
        let process = world.start().await;
        for id in [1, 2] {
            process
                .apply(world.log.append_events(&[add(SITE, id)]))
                .await;
        }
        process
            .apply(world.log.append_generation(SITE, begin(1)))
            .await;
        let mut build = begun(&process).await.unwrap();
        build.take_from_log(LogIndex(1), LogIndex(3)).await.unwrap();
        for _ in 0..3 {
            process.apply(world.log.append(Body::Blank)).await;
        }
        world.pass(10);
        process.duties().await;
        assert_eq!(world.log.floor.load(Ordering::Relaxed), 6);
        build.finish(LogIndex(3)).await.unwrap();
        assert_eq!(process.hash_of(SECOND).await, process.hash(SITE).await);
        // What sites were told is never passed over.
        process
            .apply(world.log.append_generation(SITE, begin(2)))
            .await;
        process
            .apply(world.log.append_events(&[add(SITE, 3)]))
            .await;
        world.pass(10);
        process.duties().await;
        let third = SiteGeneration {
            generation: Generation(2),
            ..SECOND
        };
        let build = GenerationBuild::begin(process.partition.clone(), third).await;
        let refused = build.unwrap().finish(LogIndex(7)).await;
        assert!(
            matches!(refused, Err(PartitionError::Log { .. })),
            "{refused:?}"
        );
    });
}

#[test]
fn a_build_whose_generation_ends_leaves_no_rows() {
    run(async {
        let world = World::new();
        let process = world.start().await;
        process
            .apply(world.log.append_events(&[add(SITE, 1), add(SITE, 2)]))
            .await;
        let unknown = begun(&process).await;
        assert!(matches!(unknown, Err(PartitionError::NotBuilt(_))));
        process
            .apply(world.log.append_generation(SITE, begin(1)))
            .await;
        let mut build = begun(&process).await.unwrap();
        build.take_from_log(LogIndex(1), LogIndex(1)).await.unwrap();
        process
            .apply(world.log.append_generation(SITE, Change::End(1)))
            .await;
        world.pass(10);
        assert!(process.duties().await.removed_rows > 0);
        let refused = build.finish(LogIndex(1)).await;
        assert!(matches!(refused, Err(PartitionError::NotBuilt(_))));
        assert_eq!(process.duties().await.removed_rows, 0);
        assert_eq!(fed(&process), [0]);
    });
}

#[test]
fn what_was_built_is_on_disk_before_it_counts() {
    run(async {
        let world = World::new();
        let process = world.start().await;
        process
            .apply(world.log.append_events(&[add(SITE, 1)]))
            .await;
        process
            .apply(world.log.append_generation(SITE, begin(1)))
            .await;
        build(&process).await.unwrap();
        process.kill().await;
        world.memory.crash(0);
        let process = world.start().await;
        assert_eq!(fed(&process), [0, 1]);
    });
}

#[test]
fn one_that_has_ended_goes_on_until_the_next_one_is_built_here() {
    run(async {
        let world = World::new();
        let process = world.start().await;
        process
            .apply(world.log.append_events(&[add(SITE, 1)]))
            .await;
        process
            .apply(world.log.append_generation(SITE, begin(1)))
            .await;
        process
            .apply(world.log.append_generation(SITE, Change::End(0)))
            .await;
        let again = world.log.append_events(&[add(SITE, 1), add(SITE, 4)]);
        assert_eq!(process.apply(again).await, [Duplicate, Accepted]);
        assert_eq!(process.duties().await.removed_rows, 0);
        assert_eq!(fed(&process), [0]);
        build(&process).await.unwrap();
        assert_eq!(fed(&process), [1]);
        let given = process
            .apply(world.log.append_events(&[add(SITE, 4)]))
            .await;
        assert_eq!(given, [Duplicate]);
        world.pass(10);
        assert!(process.duties().await.removed_rows > 0);
    });
}

#[test]
fn a_peer_s_rows_bring_built_generations_with_them() {
    run(async {
        let world = World::new();
        let process = world.start().await;
        process
            .apply(world.log.append_events(&[add(SITE, 1)]))
            .await;
        process
            .apply(world.log.append_generation(SITE, begin(1)))
            .await;
        build(&process).await.unwrap();
        world.pass(10);
        process.duties().await;
        let other = joiner(&world);
        other.log.copy(&world.log);
        let joiner = other.start_unapplied().await;
        transfer(&process, &joiner).await;
        assert_eq!(fed(&joiner), [0, 1]);
        assert_eq!(joiner.hash_of(SECOND).await, process.hash_of(SECOND).await);
    });
}

//! What is kept for the mirror, and for how long.

use std::ops::ControlFlow;

use ringtail_checkpoint::{GroupBatch, GroupKey};
use ringtail_proto::{LogIndex, SiteGeneration, SiteId, SiteRow};

use super::world::{Process, World, add, run};
use crate::{
    Note, PartitionOptions,
    group_history::index_row,
    mirroring::{NOTED_SINCE, noted_since},
};

fn world(mirrors: bool) -> World {
    let world = World::new();
    let options = PartitionOptions {
        mirrors,
        ..world.options.clone()
    };
    World { options, ..world }
}

/// Everything that is due is written.
async fn checkpointed(world: &World, process: &Process) {
    world.pass(10);
    process.duties().await;
}

fn notes(process: &Process) -> Vec<(u64, u64, Note)> {
    let (first, last) = (
        GroupKey::Site(SiteGeneration::MIN, SiteRow::Notes(LogIndex(0), 0)),
        GroupKey::Site(
            SiteGeneration::MAX,
            SiteRow::Notes(LogIndex(u64::MAX), u32::MAX),
        ),
    );
    let mut notes = Vec::new();
    let rows = process.partition.rows().snapshot();
    rows.range(&first, &last, &mut |key, value| {
        if let GroupKey::Site(site, SiteRow::Notes(index, _)) = key {
            notes.push((site.site.0, index.0, Note::decode(&value).unwrap()));
        }
        ControlFlow::Continue(())
    })
    .unwrap();
    notes
}

#[test]
fn notes_name_what_changed_and_stay_until_it_is_mirrored() {
    run(async {
        let world = world(true);
        let process = world.start().await;
        process.apply(world.log.append_events(&[add(1, 1)])).await;
        process.apply(world.log.append_events(&[add(2, 2)])).await;
        checkpointed(&world, &process).await;
        process.apply(world.log.append_events(&[add(1, 3)])).await;
        checkpointed(&world, &process).await;
        checkpointed(&world, &process).await;
        let indexes = |process: &Process| -> Vec<(u64, u64)> {
            let notes = notes(process).into_iter();
            notes.map(|(site, index, _)| (site, index)).collect()
        };
        assert_eq!(indexes(&process), [(1, 1), (1, 3), (2, 2)]);
        for (site, _, note) in notes(&process) {
            let site = SiteGeneration::first(SiteId(site));
            let site_row = GroupKey::Site(site, SiteRow::Site).encode();
            assert!(note.changed.contains(&site_row), "{note:?}");
            for key in note.changed {
                let key = GroupKey::decode(&key).unwrap();
                let GroupKey::Site(of, row) = key else {
                    panic!("{key:?} is no row of a site");
                };
                let is_rolled_up = matches!(row, SiteRow::DayPage(..) | SiteRow::MonthPage(..));
                assert!(of == site && !is_rolled_up, "{row:?}");
            }
        }
        process.apply(world.log.append_mirrored(2)).await;
        checkpointed(&world, &process).await;
        assert_eq!(indexes(&process), [(1, 3)]);
        process.kill().await;
        // Without a mirror nobody waits for notes.
        let world = World {
            options: PartitionOptions {
                mirrors: false,
                ..world.options.clone()
            },
            ..world
        };
        let process = world.start().await;
        process.apply(world.log.append_events(&[add(2, 4)])).await;
        checkpointed(&world, &process).await;
        assert_eq!(indexes(&process), []);
    });
}

#[test]
fn a_replica_that_stopped_leaving_notes_forgets_that_it_left_all() {
    run(async {
        let mirroring = world(true);
        let process = mirroring.start().await;
        process
            .apply(mirroring.log.append_events(&[add(1, 1)]))
            .await;
        checkpointed(&mirroring, &process).await;
        let mut batch = GroupBatch::new();
        batch.put(&NOTED_SINCE, index_row(LogIndex(1)));
        process.partition.rows().commit(batch).unwrap();
        process.kill().await;
        let since = |process: &Process| noted_since(&*process.partition.rows().snapshot()).unwrap();
        let process = mirroring.start().await;
        assert_eq!(since(&process), Some(LogIndex(1)));
        process.kill().await;
        let options = PartitionOptions {
            mirrors: false,
            ..mirroring.options.clone()
        };
        let silent = World {
            options,
            ..mirroring.clone()
        };
        let process = silent.start().await;
        assert_eq!(since(&process), None);
        process.kill().await;
        let process = mirroring.start().await;
        assert_eq!(since(&process), None);
    });
}

//! What went into the archive comes out of it as it was.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

mod common;

use std::sync::Arc;

use common::log::{Entry, LogMaker, PlainItem, items_of_site, plain_item, seal};
use object_store::memory::InMemory;
use proptest::prelude::*;
use ringtail_archive::{
    Archive, ArchiveError, BuiltObject, EntryHead, Location, Replay, ReplayItem, SealBuilder,
    SealOptions, Selection,
};
use ringtail_proto::{
    GroupId, LogIndex, SiteId, UnixMillis,
    stored::{ArchiveObject, EventBatch, SiteEvents},
};

async fn archive() -> Arc<Archive> {
    let options = common::options(Location::parse("s3://memory").unwrap());
    let store = Arc::new(InMemory::new());
    Arc::new(Archive::open_store(store, options, "ring").await.unwrap())
}

async fn put_all(archive: &Archive, built: Vec<BuiltObject>) -> Vec<ArchiveObject> {
    let mut objects = Vec::new();
    for object in built {
        archive.put(&object).await.unwrap();
        objects.push(object.object);
    }
    objects
}

async fn drain(mut replay: Replay) -> Vec<ReplayItem> {
    let mut items = Vec::new();
    while let Some(item) = replay.next().await.unwrap() {
        items.push(item);
    }
    items
}

async fn replay_site(
    archive: &Arc<Archive>,
    objects: &[ArchiveObject],
    site: u64,
) -> Vec<PlainItem> {
    let selection = Selection::of_site(SiteId(site), LogIndex(0)..=LogIndex(u64::MAX));
    let replay = Replay::new(archive.clone(), objects, selection).unwrap();
    drain(replay).await.iter().map(plain_item).collect()
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap()
        .block_on(future)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn replay_is_what_was_sealed(seed in any::<u64>(), sites in 1..6_u64, lens in prop::collection::vec(1..40_usize, 1..4)) {
        block_on(async {
            let archive = archive().await;
            let mut maker = LogMaker::new(seed, sites);
            let mut log = Vec::new();
            let mut objects = Vec::new();
            for len in lens {
                let entries = maker.entries(len);
                objects.extend(put_all(&archive, seal(7, &entries)).await);
                log.extend(entries);
            }
            // The manifest's order says nothing.
            objects.reverse();
            for site in 0..=sites {
                let found = replay_site(&archive, &objects, site).await;
                let wanted = items_of_site(&log, site);
                prop_assert_eq!(found, wanted, "site {} of seed {}", site, seed);
            }
            Ok(())
        })?;
    }

    #[test]
    fn equal_entries_make_equal_objects(seed in any::<u64>()) {
        let entries = LogMaker::new(seed, 3).entries(20);
        prop_assert_eq!(seal(1, &entries), seal(1, &entries));
    }
}

#[tokio::test]
async fn a_range_of_entries_is_a_range_of_items() {
    let archive = archive().await;
    let mut maker = LogMaker::new(4, 3);
    let log = maker.entries(60);
    let mut objects = Vec::new();
    for part in log.chunks(20) {
        objects.extend(put_all(&archive, seal(1, part)).await);
    }
    let middle = &log[25..45];
    let (first, last) = (middle[0].head().index, middle[19].head().index);
    for site in 0..3 {
        let selection = Selection::of_site(SiteId(site), first..=last);
        let replay = Replay::new(archive.clone(), &objects, selection).unwrap();
        let found: Vec<_> = drain(replay).await.iter().map(plain_item).collect();
        assert_eq!(found, items_of_site(middle, site));
    }
}

#[tokio::test]
async fn events_of_all_sites_come_in_the_order_of_the_log() {
    let archive = archive().await;
    let log = LogMaker::new(5, 4).entries(50);
    let objects = put_all(&archive, seal(1, &log)).await;
    let replay = Replay::events_only(archive, &objects, Selection::default()).unwrap();
    let found: Vec<(LogIndex, u32, usize)> = drain(replay)
        .await
        .iter()
        .map(|item| match item {
            ReplayItem::Events(slice) => (slice.entry.index, slice.slice, slice.codes.len()),
            ReplayItem::Command { .. } => panic!("no commands were asked for"),
        })
        .collect();
    let mut wanted = Vec::new();
    for entry in &log {
        if let Entry::Events { head, codes, .. } = entry {
            let slices = codes.iter().enumerate();
            wanted.extend(
                slices
                    .filter(|(_, codes)| !codes.is_empty())
                    .map(|(slice, codes)| (head.index, slice as u32, codes.len())),
            );
        }
    }
    assert_eq!(found, wanted);
}

#[tokio::test]
async fn time_selects_events_of_that_time() {
    let archive = archive().await;
    let log = LogMaker::new(6, 1).entries(50);
    let objects = put_all(&archive, seal(1, &log)).await;
    let (from, to) = (common::log::NOON_MS - 5_000_000, common::log::NOON_MS);
    let selection = Selection {
        times: UnixMillis(from)..=UnixMillis(to),
        ..Selection::default()
    };
    let replay = Replay::events_only(archive, &objects, selection).unwrap();
    let found: usize = drain(replay)
        .await
        .iter()
        .map(|item| match item {
            ReplayItem::Events(slice) => slice.codes.len(),
            ReplayItem::Command { .. } => 0,
        })
        .sum();
    let mut wanted = 0;
    for entry in &log {
        if let Entry::Events { head, batch, .. } = entry {
            let events = batch.sites.iter().flat_map(|slice| &slice.events);
            let counted = events.map(|event| match event.time_ms {
                0 => head.stamp.0,
                time if time > head.stamp.0 + 60_000 => head.stamp.0,
                time => time,
            });
            wanted += counted.filter(|time| (from..=to).contains(time)).count();
        }
    }
    assert!(wanted > 0);
    assert_eq!(found, wanted);
}

#[tokio::test]
async fn objects_with_the_same_entries_are_refused() {
    let archive = archive().await;
    let log = LogMaker::new(7, 2).entries(30);
    let mut objects = put_all(&archive, seal(1, &log[..20])).await;
    objects.extend(put_all(&archive, seal(1, &log[10..])).await);
    let refused = Replay::new(archive, &objects, Selection::default());
    assert!(matches!(
        refused.err(),
        Some(ArchiveError::Overlapping { .. })
    ));
}

#[test]
fn a_seal_is_of_one_day_and_knows_all_verdicts() {
    let mut seal = SealBuilder::new(GroupId(1), SealOptions { rows_max: 1 });
    let head = |index, stamp_ms| EntryHead {
        index: LogIndex(index),
        stamp: UnixMillis(stamp_ms),
        version: 1,
    };
    let batch = EventBatch::default();
    let slice = SiteEvents::default();
    assert!(!seal.is_full());
    seal.events(head(1, 86_399_999), 0, &batch, &slice, &[])
        .unwrap();
    assert!(seal.is_full());
    assert!(!seal.takes(UnixMillis(86_400_000)));
    let error = seal.events(head(2, 86_400_000), 0, &batch, &slice, &[]);
    assert!(matches!(error, Err(ArchiveError::Entry { index: 2, .. })));
    let error = seal.events(head(3, 86_399_999), 0, &batch, &slice, &[0]);
    assert!(matches!(error, Err(ArchiveError::Entry { index: 3, .. })));
}

//! Object stores fail in every way that they do: nothing that was acknowledged is lost, and nothing wrong is ever read.
//!
//! Time stands still while nobody works, so that an hour of waiting takes none.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

mod common;

use std::sync::Arc;

use bytes::Bytes;
use common::{
    faults::{ALWAYS, Fault, FaultStore},
    log::{Entry, LogMaker, PlainItem, items_of_site, plain_item, seal},
};
use futures::TryStreamExt;
use ringtail_archive::{
    Archive, ArchiveError, ArchiveOptions, BuiltObject, Location, Replay, Selection,
};
use ringtail_proto::{LogIndex, SiteId, stored::ArchiveObject};
use tokio::time::Instant;

fn options() -> ArchiveOptions {
    ArchiveOptions {
        part_bytes_max: 1 << 10,
        // Each read asks the store.
        cached_bytes_max: 0,
        ..ArchiveOptions::new(Location::parse("s3://memory").unwrap())
    }
}

async fn open(store: &FaultStore) -> Arc<Archive> {
    let store = Arc::new(store.clone());
    Arc::new(Archive::open_store(store, options(), "ring").await.unwrap())
}

fn sealed(seed: u64) -> (Vec<Entry>, Vec<BuiltObject>) {
    let log = LogMaker::new(seed, 2).entries(50);
    let built = log.chunks(10).flat_map(|part| seal(1, part)).collect();
    (log, built)
}

fn objects(built: &[BuiltObject]) -> Vec<ArchiveObject> {
    built.iter().map(|built| built.object.clone()).collect()
}

/// Items up to the first error, and the error.
async fn replay(
    archive: &Arc<Archive>,
    objects: &[ArchiveObject],
) -> (Vec<PlainItem>, Option<ArchiveError>) {
    let selection = Selection::of_site(SiteId(1), LogIndex(0)..=LogIndex(u64::MAX));
    let mut replay = Replay::new(archive.clone(), objects, selection).unwrap();
    let mut items = Vec::new();
    loop {
        match replay.next().await {
            Ok(Some(item)) => items.push(plain_item(&item)),
            Ok(None) => return (items, None),
            Err(error) => return (items, Some(error)),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn passing_faults_are_not_noticed() {
    let passing = [
        Fault::Unavailable,
        Fault::AnswerLost,
        Fault::Hang,
        Fault::HalfWritten,
        Fault::CutRead,
    ];
    for fault in passing {
        let store = FaultStore::new();
        // A name that was written by halves is an error for a person to look at, not one that passes.
        store.set(fault, if fault == Fault::HalfWritten { 0 } else { 2 });
        let archive = open(&store).await;
        let (log, built) = sealed(1);
        for object in &built {
            store.set(fault, 3);
            archive.put(object).await.unwrap();
        }
        store.set(fault, 3);
        let (items, error) = replay(&archive, &objects(&built)).await;
        assert!(error.is_none(), "{fault:?}: {error:?}");
        assert_eq!(items, items_of_site(&log, 1), "{fault:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_store_that_stays_away_is_given_up_in_time() {
    for fault in [Fault::Unavailable, Fault::AnswerLost, Fault::HalfWritten] {
        let store = FaultStore::new();
        let archive = open(&store).await;
        let (_, built) = sealed(2);
        store.set(fault, ALWAYS);
        let began = Instant::now();
        // Small enough for one request.
        let small = built.iter().min_by_key(|built| built.bytes.len()).unwrap();
        let whole = ArchiveOptions {
            part_bytes_max: 1 << 20,
            ..options()
        };
        let archive_of_wholes = {
            store.set(fault, 0);
            let archive = Archive::open_store(Arc::new(store.clone()), whole, "ring").await;
            store.set(fault, ALWAYS);
            archive.unwrap()
        };
        let error = archive_of_wholes.put(small).await.unwrap_err();
        assert!(matches!(error, ArchiveError::Unavailable { .. }), "{error}");
        let waited_ms = began.elapsed().as_millis() as u64;
        assert!(waited_ms <= options().retry_ms_max, "{waited_ms} ms");
        store.set(fault, 0);
        // Whatever the failed write left is not taken for the object.
        match archive.get(&small.object).await {
            Ok(bytes) => assert_eq!(bytes, small.bytes),
            Err(ArchiveError::Missing { .. } | ArchiveError::Damaged { .. }) => {}
            Err(error) => panic!("{fault:?}: {error}"),
        }
        archive.put(small).await.unwrap();
        assert_eq!(archive.get(&small.object).await.unwrap(), small.bytes);
    }
}

#[tokio::test(start_paused = true)]
async fn an_upload_that_breaks_in_the_middle_shows_nothing() {
    let store = FaultStore::new();
    let archive = open(&store).await;
    let (_, built) = sealed(3);
    let large = built.iter().max_by_key(|built| built.bytes.len()).unwrap();
    assert!(large.bytes.len() > 4 << 10, "several parts");
    store.set(Fault::Unavailable, ALWAYS);
    let error = archive.put(large).await.unwrap_err();
    assert!(matches!(error, ArchiveError::Unavailable { .. }), "{error}");
    store.set(Fault::Unavailable, 0);
    let error = archive.get(&large.object).await.unwrap_err();
    assert!(matches!(error, ArchiveError::Missing { .. }), "{error}");
    assert!(!archive.holds(&large.object).await.unwrap());
    archive.put(large).await.unwrap();
    assert_eq!(archive.get(&large.object).await.unwrap(), large.bytes);
}

#[tokio::test(start_paused = true)]
async fn an_hour_without_the_store_loses_nothing() {
    let store = FaultStore::new();
    let archive = open(&store).await;
    let (log, built) = sealed(4);
    store.set(Fault::Unavailable, ALWAYS);
    let (mut waiting, began) = (built.clone(), Instant::now());
    let mut refusals = 0;
    while let Some(next) = waiting.first() {
        match archive.put(next).await {
            Ok(()) => drop(waiting.remove(0)),
            Err(ArchiveError::Unavailable { .. }) => refusals += 1,
            Err(error) => panic!("{error}"),
        }
        if began.elapsed().as_secs() > 3_600 {
            store.set(Fault::Unavailable, 0);
        }
    }
    assert!(refusals > 20, "{refusals}");
    let (items, error) = replay(&archive, &objects(&built)).await;
    assert!(error.is_none(), "{error:?}");
    assert_eq!(items, items_of_site(&log, 1));
}

#[tokio::test(start_paused = true)]
async fn lists_that_lag_hide_nothing_from_readers() {
    let store = FaultStore::new();
    let archive = open(&store).await;
    let (log, built) = sealed(5);
    store.let_lists_lag(true);
    for object in &built {
        archive.put(object).await.unwrap();
    }
    let count = || async {
        archive
            .list("v1")
            .try_fold(0, |n, _| async move { Ok(n + 1) })
            .await
    };
    // Objects in parts come into being at the end and are not counted by this store's lag.
    let lagging = count().await.unwrap();
    let (items, error) = replay(&archive, &objects(&built)).await;
    assert!(error.is_none(), "{error:?}");
    assert_eq!(items, items_of_site(&log, 1));
    store.let_lists_lag(false);
    assert_eq!(count().await.unwrap(), built.len() + 1);
    assert!(lagging <= built.len() + 1);
    store.set(Fault::Unavailable, 1);
    assert!(count().await.is_err());
}

#[tokio::test(start_paused = true)]
async fn a_wrong_bit_is_read_again_and_never_believed() {
    let store = FaultStore::new();
    let archive = open(&store).await;
    let (log, built) = sealed(6);
    for object in &built {
        archive.put(object).await.unwrap();
    }
    store.set(Fault::Altered, 1);
    let (items, error) = replay(&archive, &objects(&built)).await;
    assert!(error.is_none(), "{error:?}");
    assert_eq!(items, items_of_site(&log, 1));
    store.set(Fault::Altered, ALWAYS);
    let (items, error) = replay(&archive, &objects(&built)).await;
    assert!(
        matches!(error, Some(ArchiveError::Damaged { .. })),
        "{error:?}"
    );
    assert_eq!(items, Vec::new());
}

#[tokio::test(start_paused = true)]
async fn a_missing_object_ends_a_replay_at_its_entries() {
    let store = FaultStore::new();
    let archive = open(&store).await;
    let (log, built) = sealed(7);
    for object in &built {
        archive.put(object).await.unwrap();
    }
    let wanted = items_of_site(&log, 1);
    for lost in &built {
        let path = std::str::from_utf8(&lost.object.path).unwrap();
        archive.delete(path).await.unwrap();
        let (items, error) = replay(&archive, &objects(&built)).await;
        assert!(
            matches!(error, Some(ArchiveError::Missing { .. })),
            "{error:?}"
        );
        assert_eq!(items, wanted[..items.len()]);
        assert!(items.len() < wanted.len());
        archive.put(lost).await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn a_full_store_is_named_at_once() {
    let store = FaultStore::new();
    let archive = open(&store).await;
    let (_, built) = sealed(8);
    let whole = ArchiveOptions {
        part_bytes_max: 1 << 20,
        ..options()
    };
    let archive_of_wholes = Archive::open_store(Arc::new(store.clone()), whole, "ring")
        .await
        .unwrap();
    let before = store.writes();
    store.set(Fault::Full, ALWAYS);
    let error = archive_of_wholes.put(&built[0]).await.unwrap_err();
    assert!(matches!(error, ArchiveError::Full { .. }), "{error}");
    assert_eq!(error.kind(), ringtail_proto::ErrorKind::StorageFull);
    assert_eq!(store.writes(), before + 1);
    store.set(Fault::Full, 0);
    archive_of_wholes.put(&built[0]).await.unwrap();
    assert_eq!(archive.get(&built[0].object).await.unwrap(), built[0].bytes);
}

#[tokio::test(start_paused = true)]
async fn deleting_is_tried_again_too() {
    let store = FaultStore::new();
    let archive = open(&store).await;
    let (_, built) = sealed(9);
    archive.put(&built[0]).await.unwrap();
    store.set(Fault::Unavailable, 3);
    let path = Bytes::clone(&built[0].object.path);
    archive
        .delete(std::str::from_utf8(&path).unwrap())
        .await
        .unwrap();
    assert!(!archive.holds(&built[0].object).await.unwrap());
}

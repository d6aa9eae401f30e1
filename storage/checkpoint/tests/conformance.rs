//! Both stores against the one suite, and the memory store's crash.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use std::sync::Arc;

use bytes::Bytes;
use ringtail_checkpoint::{
    CheckpointStore, EmbeddedOptions, EmbeddedStore, GroupBatch, GroupKey, GroupStore, MemoryStore,
    StoreError, conformance,
};
use ringtail_proto::GroupId;

#[test]
fn the_embedded_store_conforms() {
    let directory = tempfile::tempdir().unwrap();
    let mut stores = 0;
    conformance::check_all(|| {
        stores += 1;
        let path = directory.path().join(stores.to_string());
        Arc::new(EmbeddedStore::open(&path, EmbeddedOptions::default()).unwrap())
    });
}

#[test]
fn the_memory_store_conforms() {
    conformance::check_all(|| Arc::new(MemoryStore::new()));
}

#[test]
fn the_embedded_store_is_whole_after_it_was_opened_again() {
    let directory = tempfile::tempdir().unwrap();
    conformance::check_reopen(|| {
        Arc::new(EmbeddedStore::open(directory.path(), EmbeddedOptions::default()).unwrap())
    });
}

#[test]
fn the_memory_store_is_whole_after_a_crash() {
    let store = MemoryStore::new();
    conformance::check_reopen(|| {
        store.crash(0);
        Arc::new(store.clone())
    });
}

#[test]
fn a_crash_of_the_memory_store_keeps_a_prefix_of_what_was_not_persisted() {
    for kept in 0..=3 {
        let store = MemoryStore::new();
        let group = store.group(GroupId(1)).unwrap();
        commit(&*group, "persisted");
        store.persist().unwrap();
        for name in ["first", "second", "third"] {
            commit(&*group, name);
        }
        assert_eq!(store.unpersisted(), 3);
        store.crash(kept);
        let there = ["persisted", "first", "second", "third"]
            .map(|name| has(&*group, name))
            .map(u32::from);
        assert_eq!(there.iter().sum::<u32>(), 1 + kept as u32);
        assert!(there.is_sorted_by(|left, right| left >= right));
    }
}

#[test]
fn a_failing_memory_store_keeps_nothing_of_a_refused_batch() {
    let store = MemoryStore::new();
    let group = store.group(GroupId(1)).unwrap();
    let full = StoreError::Full {
        free_bytes: 1,
        reserve_bytes: 2,
    };
    store.fail_with(Some(full.clone()));
    let mut batch = GroupBatch::new();
    batch.put(&GroupKey::named("refused"), Bytes::new());
    assert_eq!(group.check_room(), Err(full.clone()));
    assert_eq!(group.commit(batch), Err(full.clone()));
    assert_eq!(store.persist(), Err(full));
    store.fail_with(None);
    assert!(!has(&*group, "refused"));
    commit(&*group, "taken");
    assert!(has(&*group, "taken"));
}

fn commit(group: &dyn GroupStore, name: &'static str) {
    let mut batch = GroupBatch::new();
    batch.put(&GroupKey::named(name), Bytes::from_static(b"x"));
    group.commit(batch).unwrap();
}

fn has(group: &dyn GroupStore, name: &'static str) -> bool {
    let value = group.snapshot().get(&GroupKey::named(name)).unwrap();
    value.is_some()
}

//! Both stores against the one suite, and the memory store's crash.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use std::{fs, path::Path, sync::Arc};

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
fn rows_replace_others_wholly_or_not_at_all_through_a_kill() {
    let store = MemoryStore::new();
    conformance::check_replace_and_kill(|| {
        store.crash(0);
        Arc::new(store.clone())
    });
    // What a killed process leaves is what the files hold at that moment.
    let directory = tempfile::tempdir().unwrap();
    let mut opens = 0;
    conformance::check_replace_and_kill(|| {
        let before = directory.path().join(opens.to_string());
        opens += 1;
        let path = directory.path().join(opens.to_string());
        if before.exists() {
            copy(&before, &path);
        }
        Arc::new(EmbeddedStore::open(&path, EmbeddedOptions::default()).unwrap())
    });
}

#[test]
fn keyspaces_that_nobody_needs_are_deleted() {
    let directory = tempfile::tempdir().unwrap();
    let keyspaces = || {
        let path = directory.path().join("engine/keyspaces");
        fs::read_dir(path).unwrap().count()
    };
    let open = || EmbeddedStore::open(directory.path(), EmbeddedOptions::default()).unwrap();
    let store = open();
    commit(&*store.group(GroupId(1)).unwrap(), "row");
    let before = keyspaces();
    for _ in 0..3 {
        let mut replacement = store.replace_group(GroupId(1)).unwrap();
        let row = (GroupKey::named("row").encode(), Bytes::new());
        replacement.put(vec![row]).unwrap();
        replacement.finish().unwrap();
        drop(store.replace_group(GroupId(1)).unwrap());
    }
    // One more says which keyspace counts.
    assert_eq!(keyspaces(), before + 1);
    drop(store);
    assert!(has(&*open().group(GroupId(1)).unwrap(), "row"));
    assert_eq!(keyspaces(), before + 1);
}

#[test]
fn a_replacement_on_a_full_disk_is_refused_and_the_old_rows_stay() {
    let store = MemoryStore::new();
    let group = store.group(GroupId(1)).unwrap();
    commit(&*group, "old");
    let mut replacement = store.replace_group(GroupId(1)).unwrap();
    let full = StoreError::Full {
        free_bytes: 1,
        reserve_bytes: 2,
    };
    store.fail_with(Some(full.clone()));
    let row = (GroupKey::named("new").encode(), Bytes::new());
    assert_eq!(replacement.put(vec![row]), Err(full.clone()));
    assert_eq!(replacement.finish(), Err(full.clone()));
    assert_eq!(store.replace_group(GroupId(1)).err(), Some(full.clone()));
    assert_eq!(store.remove_group(GroupId(1)), Err(full));
    store.fail_with(None);
    assert!(has(&*store.group(GroupId(1)).unwrap(), "old"));
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

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        match entry.file_type().unwrap().is_dir() {
            true => copy(&entry.path(), &target),
            false => drop(fs::copy(entry.path(), target).unwrap()),
        }
    }
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

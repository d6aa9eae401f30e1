//! The embedded store's directory: whose it is, what it refuses, and a full disk.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use bytes::Bytes;
use ringtail_checkpoint::{
    CheckpointStore, EmbeddedOptions, EmbeddedStore, FreeSpace, GroupBatch, GroupKey, StoreError,
};
use ringtail_proto::{ErrorKind, GroupId};

#[test]
fn the_format_marker_is_the_golden_one() {
    let directory = tempfile::tempdir().unwrap();
    open(directory.path()).unwrap();
    let marker = fs::read_to_string(directory.path().join("format")).unwrap();
    assert_eq!(marker, include_str!("golden/format"));
}

#[test]
fn a_newer_or_too_old_store_is_refused_and_left_alone() {
    let check = |format: &str, expect: &dyn Fn(PathBuf) -> StoreError| {
        let directory = tempfile::tempdir().unwrap();
        drop(open(directory.path()).unwrap());
        let marker = directory.path().join("format");
        fs::write(&marker, format).unwrap();
        let error = open(directory.path()).err().unwrap();
        assert_eq!(error, expect(directory.path().into()));
        assert_eq!(fs::read_to_string(&marker).unwrap(), format);
    };
    check("ringtail-checkpoint 5\n", &|path| StoreError::Newer {
        path,
        found: 5,
        known: 4,
    });
    check("ringtail-checkpoint 2\n", &|path| StoreError::Older {
        path,
        found: 2,
        known: 3,
    });
}

#[test]
fn a_directory_with_replaced_rows_is_marked_for_older_binaries() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path()).unwrap();
    store.remove_group(GroupId(1)).unwrap();
    drop(store);
    let marker = fs::read_to_string(directory.path().join("format")).unwrap();
    assert_eq!(marker, "ringtail-checkpoint 4\n");
    open(directory.path()).unwrap();
}

#[test]
fn directories_of_something_else_are_refused() {
    let check = |name: &str, content: &[u8], expect: &str| {
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join(name), content).unwrap();
        let error = open(directory.path()).err().unwrap();
        assert!(matches!(error, StoreError::NotAStore { .. }), "{error}");
        assert!(error.to_string().contains(expect), "{error}");
        assert_eq!(fs::read(directory.path().join(name)).unwrap(), content);
    };
    check("photo.jpg", b"x", "photo.jpg");
    check("format", b"ringtail-log 1\n", "ringtail-log");
    check("format", b"ringtail-checkpoint one\n", "one");
    check("format", b"", "\"\"");
    check("format", b"\xff\xfe", "no text");
}

#[test]
fn a_path_that_is_a_file_is_an_error() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("file");
    fs::write(&path, "x").unwrap();
    let error = open(&path).err().unwrap();
    assert!(matches!(error, StoreError::Io { .. }), "{error}");
}

#[test]
fn a_store_in_use_is_refused_until_it_is_closed() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path()).unwrap();
    let error = open(directory.path()).err().unwrap();
    assert!(matches!(error, StoreError::InUse { .. }), "{error}");
    assert_eq!(error.kind(), ErrorKind::Conflict);
    drop(store);
    open(directory.path()).unwrap();
}

#[test]
fn a_store_that_was_never_finished_is_started_over() {
    let directory = tempfile::tempdir().unwrap();
    drop(open(directory.path()).unwrap());
    let engine = directory.path().join("engine");
    fs::remove_file(engine.join("version")).unwrap();
    assert!(engine.join("0.jnl").exists());
    let store = open(directory.path()).unwrap();
    assert!(store.group(GroupId(1)).unwrap().check_room().is_ok());
}

#[test]
fn a_nearly_full_disk_refuses_large_batches_and_loses_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let disk = Arc::new(FakeDisk(AtomicU64::new(1 << 40)));
    let options = EmbeddedOptions {
        free_space: Some(disk.clone()),
        ..EmbeddedOptions::default()
    };
    let store = EmbeddedStore::open(directory.path(), options).unwrap();
    let group = store.group(GroupId(1)).unwrap();
    let metadata = store.group(GroupId(0)).unwrap();
    group.commit(batch("before", 1 << 20)).unwrap();

    disk.0.store(1 << 20, Ordering::Relaxed);
    let error = group.commit(batch("large", 1 << 20)).unwrap_err();
    assert!(matches!(error, StoreError::Full { .. }), "{error}");
    assert_eq!(error.kind(), ErrorKind::StorageFull);
    assert!(error.is_before_the_write());
    assert_eq!(group.check_room().unwrap_err(), error);
    group.commit(batch("floor", 100)).unwrap();
    metadata.check_room().unwrap();
    metadata.commit(batch("site", 1 << 20)).unwrap();
    let mut replacement = store.replace_group(GroupId(1)).unwrap();
    let row = (GroupKey::named("new").encode(), Bytes::new());
    assert_eq!(replacement.put(vec![row]), Err(error));
    drop(replacement);
    store.persist().unwrap();

    disk.0.store(1 << 40, Ordering::Relaxed);
    group.commit(batch("after", 1 << 20)).unwrap();
    let snapshot = group.snapshot();
    let there = ["before", "large", "floor", "after"]
        .map(|name| snapshot.get(&GroupKey::named(name)).unwrap().is_some());
    assert_eq!(there, [true, false, true, true]);
}

#[test]
fn disk_bytes_include_what_is_not_sorted_yet() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path()).unwrap();
    let group = store.group(GroupId(1)).unwrap();
    group.commit(batch("row", 4 << 20)).unwrap();
    store.persist().unwrap();
    assert!(store.disk_bytes() >= 4 << 20);
}

struct FakeDisk(AtomicU64);

impl FreeSpace for FakeDisk {
    fn free_bytes(&self) -> io::Result<u64> {
        Ok(self.0.load(Ordering::Relaxed))
    }
}

fn open(path: &Path) -> Result<EmbeddedStore, StoreError> {
    EmbeddedStore::open(path, EmbeddedOptions::default())
}

fn batch(name: &'static str, bytes: usize) -> GroupBatch {
    let mut batch = GroupBatch::new();
    batch.put(&GroupKey::named(name), Bytes::from(vec![7; bytes]));
    batch
}

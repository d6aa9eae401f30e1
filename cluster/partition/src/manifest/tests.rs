use ringtail_checkpoint::{CheckpointStore as _, MemoryStore};

use super::*;

const GROUP: GroupId = GroupId(3);
const TERM: u64 = 4;

const fn at(index: u64) -> LogPosition {
    LogPosition {
        term: TERM,
        node: NodeId(1),
        index: LogIndex(index),
    }
}

fn object(path: &'static str) -> ArchiveObject {
    ArchiveObject {
        path: Bytes::from_static(path.as_bytes()),
        rows: 5,
        ..ArchiveObject::default()
    }
}

fn seal(after_index: u64, index: u64, paths: &[&'static str]) -> ArchiveChange {
    ArchiveChange {
        seal: Some(Seal {
            after_index,
            term: 2,
            node: 1,
            index,
            stamp_ms: 77,
            membership: Bytes::from_static(b"members"),
        }),
        term: TERM,
        added: paths.iter().map(|path| object(path)).collect(),
        removed: Vec::new(),
    }
}

fn replace(removed: &[&'static str], added: &[&'static str]) -> ArchiveChange {
    ArchiveChange {
        seal: None,
        term: TERM,
        added: added.iter().map(|path| object(path)).collect(),
        removed: removed.iter().map(|path| object(path).path).collect(),
    }
}

fn paths(manifest: &Manifest) -> Vec<&[u8]> {
    manifest.objects().map(|object| &object.path[..]).collect()
}

#[test]
fn a_change_that_does_not_fit_is_void_as_a_whole() {
    let mut manifest = Manifest::default();
    assert!(manifest.apply(at(10), &seal(0, 9, &["a", "b"])));
    let before = manifest.clone();
    for void in [
        seal(0, 12, &["c"]),
        seal(8, 12, &["c"]),
        seal(9, 9, &["c"]),
        seal(9, 12, &["a"]),
        replace(&["a", "x"], &["c"]),
        replace(&["a"], &["b"]),
    ] {
        assert!(!manifest.apply(at(13), &void), "{void:?}");
        assert_eq!(manifest, before);
    }
    let later = LogPosition {
        term: TERM + 1,
        ..at(14)
    };
    let change = replace(&["a", "b"], &["c"]);
    assert!(
        !manifest.apply(later, &change),
        "another leader prepared it"
    );
    assert!(manifest.apply(at(14), &replace(&["a", "b"], &["c"])));
    assert_eq!(paths(&manifest), [b"c"]);
    assert!(manifest.apply(at(15), &seal(9, 14, &["d"])));
    assert_eq!(paths(&manifest), [b"c", b"d"]);
    let sealed = manifest.sealed().expect("sealed");
    assert_eq!(sealed.position.index, LogIndex(14));
    assert_eq!(sealed.membership.as_deref(), Some(&b"members"[..]));
}

#[test]
fn rows_hold_it_and_an_entry_that_they_hold_changes_nothing() {
    let store = MemoryStore::new();
    let rows = store.group(GROUP).expect("open");
    let mut manifest = Manifest::default();
    let (first, second) = (seal(0, 9, &["a", "b"]), replace(&["a"], &["c"]));
    assert!(manifest.apply(at(10), &first));
    assert!(manifest.apply(at(11), &second));
    let mut batch = GroupBatch::new();
    manifest.write(&mut batch);
    rows.commit(batch).expect("commit");
    assert!(manifest.note_written(LogIndex(11)));
    let mut loaded = Manifest::load(GROUP, &*rows.snapshot()).expect("load");
    assert_eq!(loaded, manifest);
    for (index, change) in [(10, &first), (11, &second)] {
        assert!(!loaded.apply(at(index), change));
    }
    assert_eq!(loaded, manifest);
    let mut batch = GroupBatch::new();
    loaded.write(&mut batch);
    assert!(batch.is_empty());
}

#[test]
fn a_change_during_the_write_is_written_next() {
    let mut manifest = Manifest::default();
    assert!(manifest.apply(at(10), &seal(0, 9, &["a"])));
    let written = manifest.index();
    assert!(manifest.apply(at(11), &replace(&["a"], &[])));
    assert!(!manifest.note_written(written));
    let mut batch = GroupBatch::new();
    manifest.write(&mut batch);
    assert_eq!(batch.len(), 2);
}

#[test]
fn damaged_rows_are_refused() {
    let check = |key: GroupKey, value: &'static [u8], expect: &str| {
        let rows = MemoryStore::new().group(GROUP).expect("open");
        let mut batch = GroupBatch::new();
        batch.put(&key, Bytes::from_static(value));
        rows.commit(batch).expect("commit");
        let error = Manifest::load(GROUP, &*rows.snapshot()).expect_err("damaged");
        assert!(error.to_string().contains(expect), "{error}");
    };
    check(HEAD, b"", "it is empty");
    check(HEAD, b"\x09", "version 9");
    check(HEAD, b"\x01abc", "cut short");
    check(object_key(b"a"), b"\x01", "another's path");
    check(object_key(b"a"), b"\x01\xff", "manifest");
}

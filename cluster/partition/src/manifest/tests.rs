use ringtail_checkpoint::{CheckpointStore as _, GroupBatch, MemoryStore};

use super::*;

const GROUP: GroupId = GroupId(3);
const TERM: u64 = 4;

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
            began_index: Some(4),
            began_ms: 55,
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
    manifest.objects().keys().map(|path| &path[..]).collect()
}

#[test]
fn a_change_that_does_not_fit_is_void_as_a_whole() {
    let mut manifest = Manifest::default();
    assert!(manifest.apply(TERM, &seal(0, 9, &["a", "b"])).is_some());
    let before = manifest.clone();
    for void in [
        seal(0, 12, &["c"]),
        seal(8, 12, &["c"]),
        seal(9, 9, &["c"]),
        seal(9, 12, &["a"]),
        replace(&["a", "x"], &["c"]),
        replace(&["a"], &["b"]),
    ] {
        assert_eq!(manifest.apply(TERM, &void), None, "{void:?}");
        assert_eq!(manifest, before);
    }
    let change = replace(&["a", "b"], &["c"]);
    let void = manifest.apply(TERM + 1, &change);
    assert_eq!(void, None, "another leader prepared it");
    assert!(
        manifest
            .apply(TERM, &replace(&["a", "b"], &["c"]))
            .is_some()
    );
    assert_eq!(paths(&manifest), [b"c"]);
    let mut later = seal(9, 14, &["d"]);
    if let Some(seal) = &mut later.seal {
        seal.began_index = Some(8);
    }
    assert!(manifest.apply(TERM, &later).is_some());
    assert_eq!(paths(&manifest), [b"c", b"d"]);
    let sealed = manifest.sealed().expect("sealed");
    assert_eq!(sealed.position.index, LogIndex(14));
    assert_eq!(sealed.membership.as_deref(), Some(&b"members"[..]));
    let began = manifest.began().expect("began");
    assert_eq!((began.after, began.stamp), (LogIndex(4), UnixMillis(55)));
}

#[test]
fn objects_of_one_table_that_would_hold_the_same_entries_are_void() {
    let placed = |path, table, first_index, last_index| ArchiveObject {
        table,
        first_index,
        last_index,
        ..object(path)
    };
    let mut manifest = Manifest::default();
    let mut first = seal(0, 30, &[]);
    first.added = vec![
        placed("a", 1, 1, 9),
        placed("b", 1, 10, 19),
        placed("c", 1, 20, 29),
    ];
    assert!(manifest.apply(TERM, &first).is_some());
    for (removed, added, fits) in [
        (&[][..], vec![placed("x", 1, 9, 9)], false),
        (&["a", "c"][..], vec![placed("x", 1, 1, 29)], false),
        (
            &["a"][..],
            vec![placed("x", 1, 1, 5), placed("y", 1, 5, 9)],
            false,
        ),
        (&[][..], vec![placed("x", 2, 1, 29)], true),
        (&["a"][..], vec![placed("x", 1, 1, 9)], true),
        (&["a", "b"][..], vec![placed("x", 1, 1, 19)], true),
        (
            &["a"][..],
            vec![placed("x", 1, 1, 5), placed("y", 1, 6, 9)],
            true,
        ),
    ] {
        let change = ArchiveChange {
            added,
            ..replace(removed, &[])
        };
        let holds = manifest.clone().apply(TERM, &change).is_some();
        assert_eq!(holds, fits, "{change:?}");
    }
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
    check(object_key(b"a"), b"", "it is empty");
    check(object_key(b"a"), b"\x09", "version 9");
    check(SEALED, b"\x01abc", "cut short");
    check(BEGAN, b"\x01abc", "another length");
    check(object_key(b"a"), b"\x01", "another's path");
    check(object_key(b"a"), b"\x01\xff", "history");
}

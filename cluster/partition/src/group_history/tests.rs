use ringtail_checkpoint::{CheckpointStore as _, MemoryStore};
use ringtail_proto::{
    NodeId, SiteId,
    stored::{ArchiveObject, GenerationBegin, Seal, generation_command::Change},
};

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

fn archive(removed: &[&'static str], added: &[&'static str]) -> HistoryCommand {
    let path = |path: &&'static str| Bytes::from_static(path.as_bytes());
    HistoryCommand::Archive(ArchiveChange {
        seal: None,
        added: added
            .iter()
            .map(|name| ArchiveObject {
                path: path(name),
                ..ArchiveObject::default()
            })
            .collect(),
        removed: removed.iter().map(path).collect(),
        term: TERM,
    })
}

fn generation() -> HistoryCommand {
    HistoryCommand::Generation(GenerationCommand {
        site: 7,
        change: Some(Change::Begin(GenerationBegin {
            generation: 1,
            rules: Bytes::from_static(b"rules"),
        })),
    })
}

#[test]
fn rows_hold_it_and_an_entry_that_they_hold_changes_nothing() {
    let store = MemoryStore::new();
    let rows = store.group(GROUP).expect("open");
    let seal = HistoryCommand::Archive(ArchiveChange {
        seal: Some(Seal {
            index: 9,
            ..Seal::default()
        }),
        term: TERM,
        ..ArchiveChange::default()
    });
    let commands = [
        seal,
        archive(&[], &["a", "b"]),
        archive(&["a"], &["c"]),
        generation(),
    ];
    let mut history = GroupHistory::default();
    for (index, command) in (10..).zip(&commands) {
        assert!(history.apply(at(index), command), "{command:?}");
    }
    let mut batch = GroupBatch::new();
    history.write(&mut batch);
    rows.commit(batch).expect("commit");
    history.note_written(LogIndex(13));
    let mut loaded = GroupHistory::load(GROUP, &*rows.snapshot()).expect("load");
    assert_eq!(loaded, history);
    assert_eq!(loaded.generations.fed(SiteId(7)).len(), 2);
    for (index, command) in (10..).zip(&commands) {
        assert!(!loaded.apply(at(index), command));
    }
    assert_eq!(loaded, history);
    let mut batch = GroupBatch::new();
    loaded.write(&mut batch);
    assert!(batch.is_empty());
}

#[test]
fn a_change_during_the_write_is_written_next() {
    let mut history = GroupHistory::default();
    assert!(history.apply(at(10), &archive(&[], &["a"])));
    let written = history.index();
    assert!(history.apply(at(11), &generation()));
    history.note_written(written);
    let mut batch = GroupBatch::new();
    history.write(&mut batch);
    assert_eq!(batch.len(), 3, "the object, the site, the index");
}

#[test]
fn damaged_rows_are_refused() {
    let check = |name: &'static str, value: &'static [u8], expect: &str| {
        let rows = MemoryStore::new().group(GROUP).expect("open");
        let mut batch = GroupBatch::new();
        batch.put(&GroupKey::named(name), Bytes::from_static(value));
        rows.commit(batch).expect("commit");
        let error = GroupHistory::load(GROUP, &*rows.snapshot()).expect_err("damaged");
        assert!(error.to_string().contains(expect), "{error}");
    };
    check("history", b"", "it is empty");
    check("history", b"\x09", "version 9");
    check("history", b"\x01abc", "cut short");
    check("generations/x", b"\x01", "names no site");
    check("generations/7", b"\x01\xff", "history");
}

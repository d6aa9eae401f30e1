//! The bytes of format version 1 never change.
#![allow(clippy::unwrap_used)]

mod support;

use std::path::Path;

use ringtail_log::{FaultDisk, Vote};
use ringtail_proto::{LogIndex, NodeId};
use support::*;

const GOLDEN: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/tests/golden/version-1.segment"
);

/// Every kind of record, in a fixed order: the second segment of a log that was closed and opened again.
fn written() -> Vec<u8> {
    let disk = FaultDisk::new();
    let (log, _) = open(&disk);
    save_vote(&group(&log, 1), vote(3)).unwrap();
    append_range(&group(&log, 1), 0..4);
    durably(&disk, || group(&log, 1).purge(position(1)));
    group(&log, 1).save_committed(Some(position(2)));
    log.close();
    let (log, _) = open(&disk);
    append_range(&group(&log, 1), 4..6);
    group(&log, 1).save_committed(Some(position(4)));
    append_range(&group(&log, 1), 6..8);
    durably(&disk, || group(&log, 1).truncate_after(Some(LogIndex(6))));
    let winner = Vote {
        term: 4,
        node: NodeId(2),
        is_committed: true,
    };
    save_vote(&group(&log, 2), winner).unwrap();
    durably(&disk, || group(&log, 1).purge(position(4)));
    log.close();
    disk.read(&segment_path(2)).unwrap()
}

#[test]
fn segment_is_written_as_ever() {
    let golden = std::fs::read(GOLDEN).unwrap();
    assert_eq!(
        written(),
        golden,
        "the format changed: it needs a new version byte"
    );
}

#[test]
fn segment_of_version_1_is_read() {
    let disk = FaultDisk::new();
    let path = Path::new(DIRECTORY).join("00000002.segment");
    disk.overwrite(&path, std::fs::read(GOLDEN).unwrap());
    let (log, report) = open(&disk);
    assert_eq!(report.torn_tail, None);
    let one = group(&log, 1);
    assert_holds(&one, 5..7);
    assert_eq!(one.purged(), Some(position(4)));
    assert_eq!(one.committed(), Some(position(4)));
    assert_eq!(one.vote(), Some(vote(3)));
    let other = group(&log, 2).vote().unwrap();
    assert_eq!(
        (other.term, other.node, other.is_committed),
        (4, NodeId(2), true)
    );
}

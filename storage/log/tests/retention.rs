//! Purged segments leave the log, only when that is safe, and into `kept/`.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

mod support;

use ringtail_log::FaultDisk;
use ringtail_proto::LogIndex;
use support::*;

/// Fills several segments with group 1, up to but not including this index.
fn fill(disk: &FaultDisk, until: u64) -> std::sync::Arc<ringtail_log::SegmentLog> {
    let (log, _) = open(disk);
    append_range(&group(&log, 1), 0..until);
    settle(&log);
    log
}

#[test]
fn purged_segments_move_to_kept_and_count_there() {
    let disk = FaultDisk::new();
    let log = fill(&disk, 100);
    let before = segments(&disk);
    assert!(before.len() > 3, "{before:?}");
    let log_bytes = log.log_bytes();
    group(&log, 1).purge(position(99)).unwrap();
    append_range(&group(&log, 1), 100..101);
    settle(&log);
    assert_eq!(kept(&disk), before[..before.len() - 1]);
    assert_eq!(segments(&disk).len(), 1);
    assert!(log.log_bytes() < log_bytes);
    let kept_bytes: usize = kept(&disk)
        .iter()
        .map(|name| {
            let path = std::path::Path::new(DIRECTORY).join("kept").join(name);
            disk.read(&path).unwrap().len()
        })
        .sum();
    assert_eq!(log.kept_bytes(), kept_bytes as u64);
    log.close();
    let (log, report) = open(&disk);
    assert_eq!(log.kept_bytes(), kept_bytes as u64);
    assert_eq!(report.entries, 1);
    assert_holds(&group(&log, 1), 100..101);
    assert_eq!(group(&log, 1).purged(), Some(position(99)));
}

#[test]
fn purge_record_is_synced_before_any_segment_moves() {
    let disk = FaultDisk::new();
    let log = fill(&disk, 100);
    let active = segments(&disk).last().unwrap().clone();
    let before = disk.operations().len();
    group(&log, 1).purge(position(99)).unwrap();
    append_range(&group(&log, 1), 100..101);
    settle(&log);
    let operations = &disk.operations()[before..];
    // The disk calls the file by the name it was created with.
    let sync = format!("sync {DIRECTORY}/{active}.new");
    let synced_at = operations.iter().position(|operation| *operation == sync);
    let moved_at = operations
        .iter()
        .position(|operation| operation.starts_with("rename"));
    assert!(synced_at.unwrap() < moved_at.unwrap(), "{operations:?}");
}

#[test]
fn power_loss_at_any_moment_of_a_purge_leaves_a_log_that_opens() {
    for seed in 0..200 {
        let disk = FaultDisk::new();
        let log = fill(&disk, 100);
        group(&log, 1).purge(position(60 + seed % 40)).unwrap();
        for _ in 0..seed % 7 {
            std::thread::yield_now();
        }
        let crashed = disk.lose_power(seed);
        drop(log);
        let (log, _) = open(&crashed);
        let one = group(&log, 1);
        let first = one.purged().map_or(0, |purged| purged.index.0 + 1);
        assert_holds(&one, first..100);
        append_range(&one, 100..110);
        assert_holds(&one, first..110);
    }
}

/// A new leader's entries replace some of a segment that is gone by the time the log is opened again.
#[test]
fn a_truncation_of_entries_in_a_segment_that_left_is_understood() {
    let disk = FaultDisk::new();
    let (log, _) = open(&disk);
    let (one, two) = (group(&log, 1), group(&log, 2));
    append_range(&two, 0..6);
    append_range(&one, 0..100);
    let gone = segments(&disk).len() - 1;
    two.truncate_after(Some(LogIndex(2))).unwrap();
    append_range(&two, 3..9);
    two.purge(position(6)).unwrap();
    one.purge(position(99)).unwrap();
    append_range(&one, 100..101);
    settle(&log);
    assert_eq!(kept(&disk).len(), gone);
    assert_eq!(segments(&disk).len(), 1);
    log.close();
    let (log, _) = open(&disk);
    assert_holds(&group(&log, 2), 7..9);
    append_range(&group(&log, 2), 9..12);
    assert_holds(&group(&log, 2), 7..12);
}

#[test]
fn one_group_that_still_needs_a_segment_keeps_it_and_all_later_ones() {
    let disk = FaultDisk::new();
    let (log, _) = open(&disk);
    append_range(&group(&log, 2), 0..1);
    append_range(&group(&log, 1), 0..100);
    let before = segments(&disk);
    group(&log, 1).purge(position(99)).unwrap();
    append_range(&group(&log, 1), 100..101);
    settle(&log);
    assert_eq!(segments(&disk), before);
    assert!(kept(&disk).is_empty());
    group(&log, 2).purge(position(0)).unwrap();
    append_range(&group(&log, 1), 101..102);
    settle(&log);
    assert_eq!(segments(&disk).len(), 1);
}

#[test]
fn segments_freed_before_a_crash_leave_at_the_next_open() {
    let disk = FaultDisk::new();
    let log = fill(&disk, 100);
    // Everything but the moves: a copy of the files as they are once the purge record is durable.
    group(&log, 1).purge(position(99)).unwrap();
    append_range(&group(&log, 1), 100..101);
    settle(&log);
    let copy = FaultDisk::new();
    for path in disk.files() {
        let back = std::path::Path::new(DIRECTORY).join(path.file_name().unwrap());
        copy.overwrite(&back, disk.read(&path).unwrap());
    }
    let moved = kept(&disk);
    let (log, _) = open(&copy);
    assert_eq!(kept(&copy), moved);
    assert_holds(&group(&log, 1), 100..101);
}

#[test]
fn segments_without_entries_are_removed_not_kept() {
    let disk = FaultDisk::new();
    for _ in 0..5 {
        let (log, _) = open(&disk);
        save_vote(&group(&log, 1), vote(1)).unwrap();
        log.close();
    }
    let (log, _) = open(&disk);
    assert_eq!(segments(&disk).len(), 1);
    assert!(kept(&disk).is_empty());
    assert_eq!(group(&log, 1).vote(), Some(vote(1)));
}

#[test]
fn purge_beyond_the_log_starts_it_anew_after_the_purge_point() {
    let disk = FaultDisk::new();
    let log = fill(&disk, 10);
    let one = group(&log, 1);
    one.purge(position(50)).unwrap();
    assert_eq!(one.last(), Some(position(50)));
    append_range(&one, 51..60);
    log.close();
    let (log, _) = open(&disk);
    assert_holds(&group(&log, 1), 51..60);
}

#[test]
fn segments_that_cannot_move_stay_until_they_can_and_the_log_goes_on() {
    let disk = FaultDisk::new();
    let log = fill(&disk, 100);
    let before = segments(&disk);
    let directory = std::path::Path::new(DIRECTORY).join("kept");
    disk.fail_moves_into(Some(&directory));
    group(&log, 1).purge(position(99)).unwrap();
    append_range(&group(&log, 1), 100..110);
    settle(&log);
    assert!(log.failure().is_none());
    assert!(kept(&disk).is_empty());
    assert_holds(&group(&log, 1), 100..110);
    disk.fail_moves_into(None);
    append_range(&group(&log, 1), 110..111);
    settle(&log);
    assert!(kept(&disk).starts_with(&before[..before.len() - 1]));
}

#[test]
fn segments_that_cannot_move_do_not_keep_the_log_from_opening() {
    let disk = FaultDisk::new();
    let log = fill(&disk, 100);
    let directory = std::path::Path::new(DIRECTORY).join("kept");
    disk.fail_moves_into(Some(&directory));
    group(&log, 1).purge(position(99)).unwrap();
    append_range(&group(&log, 1), 100..101);
    log.close();
    let (log, _) = open(&disk);
    assert_holds(&group(&log, 1), 100..101);
}

#[test]
fn a_truncation_of_entries_in_segments_that_are_gone_is_followed_at_the_next_open() {
    let disk = FaultDisk::new();
    fill(&disk, 22).close();
    // A new segment: its head says that 22 comes next.
    let (log, _) = open(&disk);
    let group_log = group(&log, 1);
    group_log.truncate_after(Some(LogIndex(20))).unwrap();
    append_range(&group_log, 21..24);
    let before = segments(&disk);
    group_log.purge(position(22)).unwrap();
    append_range(&group_log, 24..25);
    settle(&log);
    assert!(segments(&disk).len() < before.len(), "{before:?}");
    log.close();
    let (log, _) = open(&disk);
    assert_holds(&group(&log, 1), 23..25);
}

//! A torn tail is cut, any other damage is refused: nothing that was synced is ever missing without a word.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

mod support;

use std::path::Path;

use proptest::prelude::*;
use ringtail_log::{FaultDisk, LogError, SegmentId};
use support::*;

/// A disk after a kill: one unsealed segment, every entry of group 1 in `0..20` synced on its own.
fn killed() -> FaultDisk {
    let disk = FaultDisk::new();
    let (log, _) = open(&disk);
    append_range(&group(&log, 1), 0..20);
    let killed = disk.lose_power_and_everything_unsynced();
    drop(log);
    killed
}

/// A disk with several sealed segments.
fn sealed() -> FaultDisk {
    let disk = FaultDisk::new();
    let (log, _) = open(&disk);
    save_vote(&group(&log, 1), vote(3)).unwrap();
    append_range(&group(&log, 1), 0..60);
    append_range(&group(&log, 2), 0..30);
    log.close();
    disk
}

#[test]
fn zeros_and_garbage_after_the_last_synced_record_are_cut() {
    let check = |tail: Vec<u8>| {
        let disk = killed();
        let path = segment_path(1);
        let mut bytes = disk.read(&path).unwrap();
        let good = bytes.len() as u64;
        let added = tail.len() as u64;
        bytes.extend(tail);
        disk.overwrite(&path, bytes);
        let (log, report) = open(&disk);
        let torn = report.torn_tail.unwrap();
        assert_eq!(
            (torn.segment, torn.offset, torn.bytes),
            (SegmentId(1), good, added)
        );
        assert_holds(&group(&log, 1), 0..20);
        append_range(&group(&log, 1), 20..25);
        log.close();
        let (log, report) = open(&disk);
        assert_eq!(report.torn_tail, None);
        assert_holds(&group(&log, 1), 0..25);
    };
    check(vec![0; 1]);
    check(vec![0; 5000]);
    check(vec![0xAB; 333]);
    check((0..=255).cycle().take(1000).collect());
}

#[test]
fn file_cut_anywhere_keeps_the_records_before_the_cut() {
    let whole = killed().read(&segment_path(1)).unwrap();
    let mut survivors = Vec::new();
    for cut in 32..whole.len() {
        let disk = FaultDisk::new();
        disk.overwrite(&segment_path(1), whole[..cut].to_vec());
        let (log, report) = open(&disk);
        assert_holds(&group(&log, 1), 0..report.entries);
        survivors.push(report.entries);
        assert_eq!(
            report.torn_tail.is_some(),
            !is_record_end(&whole, cut),
            "{cut}"
        );
    }
    assert!(survivors.is_sorted());
    assert_eq!(survivors.last(), Some(&19));
}

/// True when a record ends at this offset.
fn is_record_end(bytes: &[u8], offset: usize) -> bool {
    let mut at = 32;
    while at < offset {
        let length: [u8; 4] = bytes[at + 20..at + 24].try_into().unwrap();
        at += 52 + u32::from_le_bytes(length) as usize;
    }
    at == offset
}

#[test]
fn every_flip_in_a_sealed_segment_is_refused() {
    let disk = sealed();
    assert!(segments(&disk).len() > 3);
    for id in [1, 2, 3] {
        let path = segment_path(id);
        let bytes = disk.read(&path).unwrap().len();
        for byte in (0..bytes).step_by(7) {
            let bit = (byte % 8) as u8;
            disk.flip_bit(&path, byte, bit).unwrap();
            let error = refused(&disk);
            let is_clear = match &error {
                LogError::Corrupt { segment, .. } => *segment == SegmentId(id),
                LogError::NewerVersion { .. } => byte == 4,
                _ => false,
            };
            assert!(is_clear, "segment {id} byte {byte}: {error}");
            disk.flip_bit(&path, byte, bit).unwrap();
        }
    }
    let (log, _) = open(&disk);
    assert_holds(&group(&log, 1), 0..60);
}

#[test]
fn every_flip_in_the_last_segment_of_a_clean_close_is_refused() {
    let disk = sealed();
    let path = Path::new(DIRECTORY).join(segments(&disk).last().unwrap());
    let bytes = disk.read(&path).unwrap().len();
    // The seal itself, the last record, is the one thing whose damage looks like a tear: it holds no data.
    for byte in 0..bytes - 52 {
        disk.flip_bit(&path, byte, 3).unwrap();
        let error = refused(&disk);
        assert!(
            matches!(
                error,
                LogError::Corrupt { .. } | LogError::NewerVersion { .. }
            ),
            "byte {byte}: {error}"
        );
        disk.flip_bit(&path, byte, 3).unwrap();
    }
}

#[test]
fn flip_below_a_synced_record_of_an_unsealed_segment_is_refused() {
    let disk = killed();
    let path = segment_path(1);
    let whole = disk.read(&path).unwrap();
    // The last record has no successor that could prove that it was durable.
    let last_record = (32..whole.len())
        .rev()
        .find(|at| is_record_end(&whole, *at))
        .unwrap();
    for byte in 32..last_record {
        disk.flip_bit(&path, byte, (byte % 8) as u8).unwrap();
        let error = refused(&disk);
        assert!(
            matches!(error, LogError::Corrupt { .. }),
            "byte {byte}: {error}"
        );
        disk.flip_bit(&path, byte, (byte % 8) as u8).unwrap();
    }
    assert_eq!(
        disk.read(&path).unwrap(),
        whole,
        "a refused open changes nothing"
    );
}

#[test]
fn damage_names_segment_and_byte() {
    let disk = killed();
    disk.flip_bit(&segment_path(1), 32 + 60, 0).unwrap();
    assert_eq!(
        refused(&disk).to_string(),
        "log segment 00000001 is damaged at byte 32: record fails its checksum"
    );
}

#[test]
fn missing_segment_is_refused() {
    let disk = sealed();
    let bytes = disk.read(&segment_path(2)).unwrap();
    let without = FaultDisk::new();
    for name in segments(&disk) {
        if name != "00000002.segment" {
            let path = Path::new(DIRECTORY).join(name);
            without.overwrite(&path, disk.read(&path).unwrap());
        }
    }
    assert_eq!(
        refused(&without).to_string(),
        "log segment 00000002 is missing"
    );
    without.overwrite(&segment_path(2), bytes);
    open(&without);
}

#[test]
fn missing_first_segment_is_a_hole_unless_its_entries_were_purged() {
    let disk = sealed();
    let without = FaultDisk::new();
    for name in segments(&disk) {
        if name != "00000001.segment" {
            let path = Path::new(DIRECTORY).join(name);
            without.overwrite(&path, disk.read(&path).unwrap());
        }
    }
    let error = refused(&without);
    assert!(matches!(error, LogError::Hole { .. }), "{error}");
}

#[test]
fn sealed_segment_that_lost_its_end_is_refused() {
    let disk = sealed();
    let path = segment_path(1);
    let whole = disk.read(&path).unwrap();
    for cut in (40..whole.len()).step_by(13) {
        disk.overwrite(&path, whole[..cut].to_vec());
        let error = refused(&disk);
        assert!(
            matches!(error, LogError::Corrupt { .. }),
            "cut {cut}: {error}"
        );
    }
}

#[test]
fn record_from_elsewhere_is_not_taken_for_one_of_ours() {
    let disk = sealed();
    // A whole, valid segment under another name.
    let bytes = disk.read(&segment_path(2)).unwrap();
    disk.overwrite(&segment_path(1), bytes);
    let error = refused(&disk);
    assert!(
        error.to_string().contains("names another segment"),
        "{error}"
    );
}

#[test]
fn newer_version_is_refused_with_both_versions() {
    let disk = sealed();
    let path = segment_path(1);
    let mut bytes = disk.read(&path).unwrap();
    bytes[4] = 2;
    let crc = crc32c::crc32c(&bytes[..28]).to_le_bytes();
    bytes[28..32].copy_from_slice(&crc);
    disk.overwrite(&path, bytes);
    assert_eq!(
        refused(&disk).to_string(),
        "log segment 00000001 has format version 2, this binary reads up to 1"
    );
}

#[test]
fn segment_that_a_crash_left_unfinished_is_removed() {
    let disk = sealed();
    let path = Path::new(DIRECTORY).join("00000063.segment.new");
    disk.overwrite(&path, b"half a header".to_vec());
    let (log, _) = open(&disk);
    assert_holds(&group(&log, 1), 0..60);
    assert!(disk.read(&path).is_err());
}

#[test]
fn rot_under_a_running_log_is_noticed_when_read() {
    let disk = FaultDisk::new();
    let (log, _) = open(&disk);
    let one = group(&log, 1);
    append_range(&one, 0..20);
    disk.flip_bit(&segment_path(1), 32 + 60, 0).unwrap();
    let error = one
        .read(0.into(), 1.into(), u64::MAX)
        .expect_err("the record is damaged");
    assert!(matches!(error, LogError::Corrupt { .. }), "{error}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    /// The tail of the last batch is torn at random: exactly the batches before it survive, or the whole batch.
    #[test]
    fn torn_batch_leaves_the_synced_prefix(seed in any::<u64>(), batch in 1_u64..12) {
        let disk = FaultDisk::new();
        let (log, _) = open(&disk);
        let one = group(&log, 1);
        append_range(&one, 0..5);
        disk.fail_syncs();
        let entries: Vec<_> = (5..5 + batch).map(|index| entry(1, index)).collect();
        prop_assert!(append(&one, entries).is_err());
        let torn = disk.lose_power(seed);
        let (log, report) = open(&torn);
        prop_assert!((5..=5 + batch).contains(&report.entries), "{report}");
        assert_holds(&group(&log, 1), 0..report.entries);
    }
}

//! What a callback promised is there after any crash, and what the disk refuses is told to everyone who waits.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use proptest::prelude::*;
use ringtail_log::{Disk, FaultDisk, LocalDisk, LogError, LogOptions, SegmentLog};
use ringtail_proto::LogIndex;
use support::*;

#[test]
fn entries_of_all_groups_survive_a_clean_close() {
    let disk = FaultDisk::new();
    let (log, report) = open(&disk);
    assert_eq!(report.entries, 0);
    for number in [0, 1, 7] {
        append_range(&group(&log, number), 0..50);
    }
    log.close();
    let (log, report) = open(&disk);
    assert_eq!(report.entries, 150);
    assert_eq!(report.torn_tail, None);
    for number in [0, 1, 7] {
        assert_holds(&group(&log, number), 0..50);
    }
}

#[test]
fn local_disk_keeps_entries_too() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("log");
    let open = || {
        let disk: Arc<dyn Disk> = Arc::new(LocalDisk);
        SegmentLog::open(disk, &path, small_options()).unwrap()
    };
    let (log, _) = open();
    append_range(&group(&log, 1), 0..200);
    group(&log, 1).purge(position(150)).unwrap();
    append_range(&group(&log, 1), 200..201);
    drop(log);
    let (log, report) = open();
    assert_eq!(report.torn_tail, None);
    assert_holds(&group(&log, 1), 151..201);
    assert!(log.kept_bytes() > 4096);
}

#[test]
fn large_batches_take_several_vectored_writes() {
    let directory = tempfile::tempdir().unwrap();
    let disk: Arc<dyn Disk> = Arc::new(LocalDisk);
    let options = LogOptions::default();
    let (log, _) = SegmentLog::open(disk.clone(), directory.path(), options.clone()).unwrap();
    append(
        &group(&log, 1),
        (0..5000).map(|index| entry(1, index)).collect(),
    )
    .unwrap();
    drop(log);
    let (log, _) = SegmentLog::open(disk, directory.path(), options).unwrap();
    assert_holds(&group(&log, 1), 0..5000);
}

#[test]
fn one_sync_serves_all_that_wait() {
    let disk = FaultDisk::new();
    let (log, _) = open(&disk);
    let before = disk.syncs();
    let mut waiting = Vec::new();
    for index in 0..20 {
        for number in 0..10 {
            let (callback, done) = waiter();
            group(&log, number)
                .append(vec![entry(number, index)], callback)
                .unwrap();
            waiting.push(done);
        }
    }
    for done in &waiting {
        done.recv().unwrap().unwrap();
    }
    let syncs = disk.syncs() - before;
    assert!(syncs < 200, "{syncs} syncs for 200 appends");
}

#[test]
fn entries_can_be_read_before_they_are_durable_and_after_they_left_the_cache() {
    let disk = FaultDisk::new();
    let (log, _) = open(&disk);
    let log = group(&log, 3);
    let (callback, done) = waiter();
    log.append((0..30).map(|index| entry(3, index)).collect(), callback)
        .unwrap();
    assert_holds(&log, 0..30);
    done.recv().unwrap().unwrap();
    append_range(&log, 30..60);
    assert!(!log.is_cached_from(LogIndex(0)));
    assert!(log.is_cached_from(LogIndex(59)));
    assert_holds(&log, 0..60);
}

#[test]
fn vote_is_durable_when_its_callback_says_so_and_survives_new_segments() {
    let disk = FaultDisk::new();
    let (log, _) = open(&disk);
    save_vote(&group(&log, 1), vote(7)).unwrap();
    append_range(&group(&log, 2), 0..100);
    group(&log, 2).purge(position(99)).unwrap();
    append_range(&group(&log, 2), 100..200);
    assert!(!segments(&disk).contains(&"00000001.segment".to_owned()));
    let disk = disk.lose_power_and_everything_unsynced();
    let (log, _) = open(&disk);
    assert_eq!(group(&log, 1).vote(), Some(vote(7)));
    assert_holds(&group(&log, 2), 100..200);
}

#[test]
fn commit_point_rides_on_a_later_append_and_is_never_beyond_the_log() {
    let disk = FaultDisk::new();
    let (log, _) = open(&disk);
    let one = group(&log, 1);
    append_range(&one, 0..3);
    one.save_committed(Some(position(2)));
    let crashed = disk.lose_power_and_everything_unsynced();
    let (log, _) = open(&crashed);
    let one = group(&log, 1);
    assert_eq!(one.committed(), None);
    one.save_committed(Some(position(2)));
    append_range(&one, 3..4);
    one.save_committed(Some(position(9)));
    let crashed = crashed.lose_power_and_everything_unsynced();
    let (log, _) = open(&crashed);
    assert_eq!(group(&log, 1).committed(), Some(position(2)));
    group(&log, 1).save_committed(Some(position(9)));
    log.close();
    let (log, _) = open(&crashed);
    assert_eq!(group(&log, 1).committed(), Some(position(3)));
}

#[test]
fn truncated_entries_stay_gone_after_a_crash() {
    let disk = FaultDisk::new();
    let (log, _) = open(&disk);
    let one = group(&log, 1);
    append_range(&one, 0..10);
    one.truncate_after(Some(LogIndex(4))).unwrap();
    assert_holds(&one, 0..5);
    append_range(&one, 5..7);
    let disk = disk.lose_power_and_everything_unsynced();
    let (log, _) = open(&disk);
    assert_holds(&group(&log, 1), 0..7);
    group(&log, 1).truncate_after(None).unwrap();
    append_range(&group(&log, 1), 0..2);
    log.close();
    let (log, _) = open(&disk);
    assert_holds(&group(&log, 1), 0..2);
}

#[test]
fn append_that_would_leave_a_hole_is_refused_and_changes_nothing() {
    let disk = FaultDisk::new();
    let (log, _) = open(&disk);
    let one = group(&log, 1);
    append_range(&one, 0..3);
    let check = |indexes: &[u64]| {
        let entries = indexes.iter().map(|index| entry(1, *index)).collect();
        let error = append(&one, entries).unwrap_err();
        assert!(matches!(error, LogError::Hole { .. }), "{error}");
        assert_holds(&one, 0..3);
    };
    check(&[4]);
    check(&[2]);
    check(&[3, 5]);
    append_range(&one, 3..4);
}

#[test]
fn entry_over_the_limit_is_refused_with_its_size() {
    let disk = FaultDisk::new();
    let options = LogOptions {
        entry_bytes_max: 100,
        ..small_options()
    };
    let (log, _) =
        SegmentLog::open(Arc::new(disk), std::path::Path::new(DIRECTORY), options).unwrap();
    let mut large = entry(1, 0);
    large.payload = vec![0; 101].into();
    let error = append(&group(&log, 1), vec![large]).unwrap_err();
    assert_eq!(
        error.to_string(),
        "log entry of 101 bytes is over the limit of 100"
    );
}

#[test]
fn failing_sync_stops_the_log_and_answers_everyone() {
    let disk = FaultDisk::new();
    let (log, _) = open(&disk);
    append_range(&group(&log, 1), 0..3);
    disk.fail_syncs();
    let mut waiting = Vec::new();
    for index in 3..50 {
        let (callback, done) = waiter();
        // Later ones may be refused at once; their callbacks are called all the same.
        let refused = group(&log, 1).append(vec![entry(1, index)], callback);
        waiting.push(done);
        if refused.is_err() {
            break;
        }
    }
    for done in waiting {
        done.recv().unwrap().unwrap_err();
    }
    assert!(matches!(log.failure(), Some(LogError::Io { .. })));
    assert!(matches!(
        append(&group(&log, 2), vec![entry(2, 0)]),
        Err(LogError::Io { .. })
    ));
    assert!(save_vote(&group(&log, 2), vote(1)).is_err());
    assert!(group(&log, 1).purge(position(1)).is_err());
    assert!(group(&log, 1).truncate_after(None).is_err());
    log.close();
}

#[test]
fn failing_write_stops_the_log() {
    let disk = FaultDisk::new();
    let (log, _) = open(&disk);
    append_range(&group(&log, 1), 0..3);
    disk.fail_writes();
    let error = append(&group(&log, 1), vec![entry(1, 3)]).unwrap_err();
    assert!(
        error.to_string().contains("injected write failure"),
        "{error}"
    );
    assert!(log.failure().is_some());
    let (log, report) = open(&disk.lose_power(1));
    assert_holds(&group(&log, 1), 0..3);
    assert_eq!(report.entries, 3);
}

#[test]
fn entries_lost_by_a_lying_disk_are_noticed_by_these_checks() {
    let disk = FaultDisk::new();
    let (log, _) = open(&disk);
    append_range(&group(&log, 1), 0..3);
    disk.lie_about_syncs();
    append_range(&group(&log, 1), 3..6);
    let (log, _) = open(&disk.lose_power_and_everything_unsynced());
    let held = read_all(&group(&log, 1)).len();
    assert_eq!(held, 3, "three acknowledged entries are gone");
}

struct Flag(AtomicBool);

impl Wake for Flag {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::SeqCst);
    }
}

#[test]
fn failure_can_be_awaited() {
    let disk = FaultDisk::new();
    let (log, _) = open(&disk);
    let flag = Arc::new(Flag(AtomicBool::new(false)));
    let waker = Waker::from(flag.clone());
    let mut context = Context::from_waker(&waker);
    let mut failed = std::pin::pin!(log.failed());
    assert!(failed.as_mut().poll(&mut context).is_pending());
    disk.fail_syncs();
    append(&group(&log, 1), vec![entry(1, 0)]).unwrap_err();
    assert!(flag.0.load(Ordering::SeqCst));
    assert!(matches!(
        failed.as_mut().poll(&mut context),
        Poll::Ready(LogError::Io { .. })
    ));
}

#[test]
fn full_disk_makes_everyone_wait_and_loses_nothing() {
    let disk = FaultDisk::new();
    let (log, _) = open(&disk);
    let one = group(&log, 1);
    append_range(&one, 0..10);
    disk.set_free_bytes(Some(100));
    let (callback, done) = waiter();
    one.append((10..20).map(|index| entry(1, index)).collect(), callback)
        .unwrap();
    while !log.is_full() {
        std::thread::yield_now();
    }
    assert!(done.try_recv().is_err());
    assert_eq!(log.failure().map(|error| error.to_string()), None);
    let (later_callback, later) = waiter();
    one.append(vec![entry(1, 20)], later_callback).unwrap();
    disk.set_free_bytes(None);
    done.recv().unwrap().unwrap();
    later.recv().unwrap().unwrap();
    assert!(!log.is_full());
    let (log, _) = open(&disk.lose_power_and_everything_unsynced());
    assert_holds(&group(&log, 1), 0..21);
}

#[test]
fn full_disk_while_a_segment_ends_loses_nothing() {
    let disk = FaultDisk::new();
    let (log, _) = open(&disk);
    let one = group(&log, 1);
    let mut index = 0;
    disk.set_free_bytes(Some(4096));
    while !log.is_full() {
        let (callback, _done) = waiter();
        one.append(vec![entry(1, index)], callback).unwrap();
        index += 1;
        std::thread::yield_now();
    }
    disk.set_free_bytes(None);
    append(&one, vec![entry(1, index)]).unwrap();
    let (log, _) = open(&disk.lose_power_and_everything_unsynced());
    assert_holds(&group(&log, 1), 0..index + 1);
}

#[test]
fn closing_a_log_that_waits_for_space_says_so() {
    let disk = FaultDisk::new();
    let (log, _) = open(&disk);
    disk.set_free_bytes(Some(10));
    let (callback, done) = waiter();
    group(&log, 1).append(vec![entry(1, 0)], callback).unwrap();
    while !log.is_full() {
        std::thread::yield_now();
    }
    log.close();
    assert!(matches!(done.recv().unwrap(), Err(LogError::NoSpace(_))));
}

#[test]
fn log_that_may_open_no_file_waits_until_it_may() {
    let disk = FaultDisk::new();
    let (log, _) = open(&disk);
    let one = group(&log, 1);
    disk.set_too_many_open_files(true);
    let mut index = 0;
    while !log.is_full() {
        let (callback, _done) = waiter();
        one.append(vec![entry(1, index)], callback).unwrap();
        index += 1;
        std::thread::yield_now();
    }
    assert!(log.failure().is_none());
    disk.set_too_many_open_files(false);
    append(&one, vec![entry(1, index)]).unwrap();
    assert!(segments(&disk).len() > 1);
    let (log, _) = open(&disk.lose_power_and_everything_unsynced());
    assert_holds(&group(&log, 1), 0..index + 1);
}

#[test]
fn log_that_is_closed_refuses_with_an_answer() {
    let disk = FaultDisk::new();
    let (log, _) = open(&disk);
    log.close();
    assert!(matches!(
        append(&group(&log, 1), vec![entry(1, 0)]),
        Err(LogError::Closed)
    ));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]

    /// Power is lost at a random moment; every acknowledged entry is there, in order, and nothing that was never
    /// appended is. Then the survivor is used and crashed again.
    #[test]
    fn acknowledged_entries_survive_power_loss(seed in any::<u64>(), lengths in prop::collection::vec(1_u64..40, 1..4)) {
        let mut disk = FaultDisk::new();
        let mut next = [0_u64; 3];
        for (round, length) in lengths.iter().enumerate() {
            let (log, _) = open(&disk);
            for (number, next) in next.iter().enumerate() {
                assert_holds(&group(&log, number as u32), 0..*next);
            }
            let mut waiting = Vec::new();
            let mut acknowledged = next;
            for step in 0..*length {
                let number = (seed.wrapping_add(step * 7) % 3) as usize;
                let first = next[number];
                let count = 1 + (seed >> (step % 60)) % 4;
                let entries = (first..first + count)
                    .map(|index| entry(number as u32, index))
                    .collect();
                let (callback, done) = waiter();
                group(&log, number as u32).append(entries, callback).unwrap();
                next[number] += count;
                if step % 5 == seed % 5 {
                    done.recv().unwrap().unwrap();
                    acknowledged[number] = next[number];
                } else {
                    waiting.push((number, next[number], done));
                }
            }
            let crashed = disk.lose_power(seed.wrapping_add(round as u64));
            drop(log);
            for (number, end, done) in waiting {
                if done.recv().unwrap().is_ok() {
                    acknowledged[number] = acknowledged[number].max(end);
                }
            }
            let (log, _) = open(&crashed);
            for number in 0..3 {
                let held = read_all(&group(&log, number as u32)).len() as u64;
                prop_assert!(held >= acknowledged[number], "group {number}: {held} < {}", acknowledged[number]);
                prop_assert!(held <= next[number]);
                assert_holds(&group(&log, number as u32), 0..held);
                next[number] = held;
            }
            log.close();
            disk = crashed;
        }
    }
}

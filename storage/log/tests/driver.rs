//! A log without a thread writes when its driver says so.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

mod support;

use std::{path::Path, sync::Arc};

use futures::FutureExt as _;
use ringtail_log::{Disk, FaultDisk, SegmentLog};
use support::*;

#[test]
fn nothing_is_durable_before_the_driver_has_stepped() {
    let disk = FaultDisk::new();
    let shared: Arc<dyn Disk> = Arc::new(disk.clone());
    let (log, driver, _) =
        SegmentLog::open_driven(shared, Path::new(DIRECTORY), small_options()).unwrap();
    assert!(driver.waiting().now_or_never().is_none());
    let (callback, done) = waiter();
    let group_log = group(&log, 1);
    group_log.append(vec![entry(1, 0)], callback).unwrap();
    assert!(done.try_recv().is_err());
    assert!(driver.waiting().now_or_never().is_some());
    let driver = driver.step().unwrap();
    done.try_recv().unwrap().unwrap();
    assert_holds(&group_log, 0..1);
    driver.set_full(true);
    assert!(log.is_full());
    log.close();
    assert!(driver.waiting().now_or_never().is_some());
    assert!(driver.step().is_none());
    let (log, report) = open(&disk);
    assert_eq!((report.entries, report.torn_tail.is_none()), (1, true));
    assert_holds(&group(&log, 1), 0..1);
}

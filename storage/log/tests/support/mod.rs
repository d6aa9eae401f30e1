//! What the log's tests share.
#![allow(dead_code, clippy::unwrap_used, clippy::indexing_slicing)]

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};

use bytes::Bytes;
use ringtail_log::{
    Disk, Entry, FaultDisk, GroupLog, LogError, LogOptions, OnDurable, Position, RecoveryReport,
    SegmentLog, Vote,
};
use ringtail_proto::{GroupId, LogIndex, NodeId};

pub(crate) const DIRECTORY: &str = "/log";

pub(crate) fn small_options() -> LogOptions {
    LogOptions {
        segment_bytes_max: 4096,
        group_cache_bytes_max: 512,
        space_retry_interval: std::time::Duration::from_millis(1),
        ..LogOptions::default()
    }
}

pub(crate) fn open(disk: &FaultDisk) -> (Arc<SegmentLog>, RecoveryReport) {
    try_open(disk).unwrap()
}

pub(crate) fn try_open(disk: &FaultDisk) -> Result<(Arc<SegmentLog>, RecoveryReport), LogError> {
    let disk: Arc<dyn Disk> = Arc::new(disk.clone());
    SegmentLog::open(disk, Path::new(DIRECTORY), small_options())
}

/// The error of an open that must be refused.
pub(crate) fn refused(disk: &FaultDisk) -> LogError {
    match try_open(disk) {
        Ok((_, report)) => panic!("opened: {report}"),
        Err(error) => error,
    }
}

pub(crate) fn position(index: u64) -> Position {
    Position {
        term: 1,
        node: NodeId(1),
        index: LogIndex(index),
    }
}

pub(crate) fn vote(term: u64) -> Vote {
    Vote {
        term,
        node: NodeId(1),
        is_committed: false,
    }
}

/// An entry whose payload is a function of group and index, so that a read can be checked.
pub(crate) fn entry(group: u32, index: u64) -> Entry {
    let length = 20 + (index * 37 + u64::from(group) * 11) % 200;
    let payload: Vec<u8> = (0..length)
        .map(|at| (at * 7 + index * 13 + u64::from(group)) as u8)
        .collect();
    Entry {
        position: position(index),
        tag: 1,
        payload: Bytes::from(payload),
    }
}

/// A callback, and where its result arrives.
pub(crate) fn waiter() -> (OnDurable, Receiver<Result<(), LogError>>) {
    let (sender, receiver) = channel();
    let callback = Box::new(move |result| drop(sender.send(result)));
    (callback, receiver)
}

/// Appends and waits until it is durable.
pub(crate) fn append(log: &GroupLog, entries: Vec<Entry>) -> Result<(), LogError> {
    let (callback, done) = waiter();
    let refused = log.append(entries, callback);
    let result = done.recv().unwrap();
    assert!(refused.is_ok() || result.is_err());
    result
}

pub(crate) fn append_range(log: &GroupLog, indexes: std::ops::Range<u64>) {
    let group = log.group().0;
    for index in indexes {
        append(log, vec![entry(group, index)]).unwrap();
    }
}

pub(crate) fn save_vote(log: &GroupLog, vote: Vote) -> Result<(), LogError> {
    let (callback, done) = waiter();
    let refused = log.save_vote(vote, callback);
    let result = done.recv().unwrap();
    assert!(refused.is_ok() || result.is_err());
    result
}

pub(crate) fn read_all(log: &GroupLog) -> Vec<Entry> {
    log.read(LogIndex(0), LogIndex(u64::MAX), u64::MAX).unwrap()
}

/// Asserts that the group holds exactly the entries of the range, byte for byte.
pub(crate) fn assert_holds(log: &GroupLog, indexes: std::ops::Range<u64>) {
    let group = log.group().0;
    let expected: Vec<Entry> = indexes.map(|index| entry(group, index)).collect();
    assert_eq!(read_all(log), expected);
}

pub(crate) fn group(log: &Arc<SegmentLog>, group: u32) -> GroupLog {
    log.group(GroupId(group))
}

pub(crate) fn segment_path(id: u32) -> PathBuf {
    Path::new(DIRECTORY).join(format!("{id:08x}.segment"))
}

/// Segments in the log's directory, in order.
pub(crate) fn segments(disk: &FaultDisk) -> Vec<String> {
    files_in(disk, Path::new(DIRECTORY))
}

pub(crate) fn kept(disk: &FaultDisk) -> Vec<String> {
    files_in(disk, &Path::new(DIRECTORY).join("kept"))
}

fn files_in(disk: &FaultDisk, directory: &Path) -> Vec<String> {
    disk.files()
        .iter()
        .filter(|path| path.parent() == Some(directory))
        .map(|path| path.file_name().unwrap().to_str().unwrap().to_owned())
        .collect()
}

/// Returns once the writer has done everything that earlier requests made due, also what comes after their callbacks.
pub(crate) fn settle(log: &Arc<SegmentLog>) {
    // The second request is in a later batch than whatever came before the first.
    for term in [1, 2] {
        save_vote(&group(log, 99), vote(term)).unwrap();
    }
}

/// Makes a request that has no callback, and waits until it is durable: in a batch of its own.
pub(crate) fn durably(disk: &FaultDisk, request: impl FnOnce() -> Result<(), LogError>) {
    let before = disk.syncs();
    request().unwrap();
    while disk.syncs() == before {
        std::thread::yield_now();
    }
}

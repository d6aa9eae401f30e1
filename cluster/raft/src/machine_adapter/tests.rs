//! What the machine is given at once, and what is made good at a start.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use std::path::Path;

use async_trait::async_trait;
use bytes::Bytes;
use openraft::{Entry, EntryPayload};
use ringtail_log::{FaultDisk, LogOptions, SegmentLog};
use ringtail_proto::{GroupId, LogIndex};

use super::*;
use crate::machine::{Floor, LogPosition, MachineError};
use crate::snapshot::{SnapshotPart, SnapshotSink, SnapshotSource};
use crate::types::{Command, LeaderId};

const GROUP: GroupId = GroupId(1);

/// Remembers how many entries came at once, and the floor that a snapshot gave it.
#[derive(Default)]
struct Batches(Mutex<Vec<usize>>, Arc<Mutex<Floor>>);

#[async_trait]
impl Machine for Batches {
    async fn floor(&self) -> Result<Floor, MachineError> {
        Ok(self.1.lock().clone())
    }

    async fn apply(&self, entries: Vec<Committed>) -> Result<Vec<Bytes>, MachineError> {
        self.0.lock().push(entries.len());
        Ok(vec![Bytes::new(); entries.len()])
    }

    async fn snapshot(&self) -> Result<(Floor, Box<dyn SnapshotSource>), MachineError> {
        Err(MachineError::new("it has nothing durable"))
    }

    async fn receive_snapshot(&self) -> Result<Box<dyn SnapshotSink>, MachineError> {
        Ok(Box::new(FloorSink(self.1.clone())))
    }
}

/// Of rows it takes the last one's key as the index that they are at.
struct FloorSink(Arc<Mutex<Floor>>);

#[async_trait]
impl SnapshotSink for FloorSink {
    async fn put(&mut self, part: SnapshotPart) -> Result<(), MachineError> {
        let (key, _) = part.rows.last().unwrap();
        self.0.lock().position = Some(position(u64::from(key[0])));
        Ok(())
    }

    async fn finish(self: Box<Self>) -> Result<Floor, MachineError> {
        Ok(self.0.lock().clone())
    }
}

fn position(index: u64) -> LogPosition {
    convert::position(&log_id(index))
}

fn log_id(index: u64) -> LogId {
    let leader = LeaderId {
        term: 1,
        node_id: 1,
    };
    LogId::new(leader, index)
}

fn log_on(disk: &FaultDisk) -> Arc<SegmentLog> {
    let disk = Arc::new(disk.clone());
    SegmentLog::open(disk, Path::new("/log"), LogOptions::default())
        .unwrap()
        .0
}

fn staging_on(disk: &FaultDisk) -> Staging {
    Staging::open(Arc::new(disk.clone()), Path::new("/snapshots")).unwrap()
}

async fn batches_of(sizes: Vec<usize>) -> Vec<usize> {
    let machine = Arc::new(Batches::default());
    let log = log_on(&FaultDisk::new());
    let mut adapter = MachineAdapter::open(log.group(GROUP), machine.clone(), None)
        .await
        .expect("it has no floor");
    let entries = (1..).zip(sizes).map(|(index, size)| {
        let entry = Entry {
            log_id: log_id(index),
            payload: EntryPayload::Normal(Command(Bytes::from(vec![0; size]))),
        };
        Ok((entry, None))
    });
    let applied = adapter.apply(futures::stream::iter(entries)).await;
    applied.expect("the machine takes everything");
    let batches = machine.0.lock();
    batches.clone()
}

#[tokio::test]
async fn a_batch_ends_after_so_many_entries_or_so_many_bytes() {
    assert_eq!(batches_of(vec![1; 600]).await, [256, 256, 88]);
    let large = APPLY_BYTES_MAX / 4;
    assert_eq!(batches_of(vec![large; 10]).await, [4, 4, 2]);
    assert_eq!(batches_of(vec![1, APPLY_BYTES_MAX, 1]).await, [2, 1]);
}

/// A disk on which a snapshot at index 7 had arrived whole when the power went.
async fn disk_with_snapshot() -> FaultDisk {
    let disk = FaultDisk::new();
    let meta = SnapshotMeta {
        last_log_id: Some(log_id(7)),
        last_membership: StoredMembership::default(),
    };
    let meta = convert::snapshot_meta_bytes(&meta).unwrap().to_vec();
    let rows = vec![(Bytes::from_static(&[7]), Bytes::new())];
    let arriving = staging_on(&disk).begin(GROUP, meta).await.unwrap();
    let arriving = arriving.put(SnapshotPart { rows }).await.unwrap();
    drop(arriving.finish().await.unwrap());
    disk.lose_power_and_everything_unsynced()
}

#[tokio::test]
async fn a_log_that_lost_its_note_of_a_snapshot_gets_it_again() {
    // The rows were replaced before the end in one case, and not in the other.
    for floor in [None, Some(position(7))] {
        let disk = disk_with_snapshot().await;
        let machine = Arc::new(Batches::default());
        machine.1.lock().position = floor;
        let log = log_on(&disk);
        let adapter =
            MachineAdapter::open(log.group(GROUP), machine.clone(), Some(staging_on(&disk)));
        adapter.await.unwrap();
        assert_eq!(machine.1.lock().position, Some(position(7)));
        // Durable by now, as the file is gone.
        let disk = disk.lose_power_and_everything_unsynced();
        assert!(staging_on(&disk).leftover(GROUP).await.unwrap().is_none());
        let purged = log_on(&disk).group(GROUP).purged().unwrap();
        assert_eq!(purged.index, LogIndex(7));
    }
}

#[tokio::test]
async fn a_snapshot_stays_until_the_log_has_taken_note_of_it() {
    let disk = disk_with_snapshot().await;
    let log = log_on(&disk);
    disk.fail_syncs();
    let machine = Arc::new(Batches::default());
    let failed = MachineAdapter::open(log.group(GROUP), machine, Some(staging_on(&disk))).await;
    assert!(failed.is_err());
    let disk = disk.lose_power_and_everything_unsynced();
    assert!(staging_on(&disk).leftover(GROUP).await.unwrap().is_some());
}

#[tokio::test]
async fn an_older_snapshot_changes_nothing() {
    let disk = disk_with_snapshot().await;
    let machine = Arc::new(Batches::default());
    machine.1.lock().position = Some(position(9));
    let log = log_on(&disk);
    let opened = MachineAdapter::open(log.group(GROUP), machine.clone(), Some(staging_on(&disk)));
    opened.await.unwrap();
    assert_eq!(machine.1.lock().position, Some(position(9)));
    assert_eq!(log.group(GROUP).purged(), None);
    assert!(staging_on(&disk).leftover(GROUP).await.unwrap().is_none());
}

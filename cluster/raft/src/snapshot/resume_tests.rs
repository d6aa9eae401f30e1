//! A transfer that breaks goes on where it was, and what changed meanwhile is sent.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use std::collections::{HashSet, VecDeque};
use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream;
use ringtail_log::FaultDisk;
use ringtail_proto::GroupId;
use ringtail_proto::wire::peer::{self, snapshot_chunk::Part};
use tokio::sync::mpsc;
use tonic::Status;

use super::send::stream_rows;
use super::{SnapshotPart, SnapshotSource, StagedFile, Staging, receive_snapshot};
use crate::machine::MachineError;

const GROUP: GroupId = GroupId(3);

struct Rows(VecDeque<(Bytes, Bytes)>);

#[async_trait]
impl SnapshotSource for Rows {
    async fn next(&mut self) -> Result<Option<SnapshotPart>, MachineError> {
        let rows: Vec<_> = (0..100).map_while(|_| self.0.pop_front()).collect();
        Ok((!rows.is_empty()).then_some(SnapshotPart { rows }))
    }
}

/// Rows of 20 bytes; the value of every one from a key on says whether it changed.
fn rows(changed_from: u32) -> VecDeque<(Bytes, Bytes)> {
    let row = |key: u32| {
        let value = format!("value {key:8} {}", u8::from(key >= changed_from));
        (
            Bytes::copy_from_slice(&key.to_be_bytes()),
            Bytes::from(value),
        )
    };
    (0..20_000).map(row).collect()
}

fn head() -> peer::SnapshotHead {
    peer::SnapshotHead {
        group: GROUP.0,
        vote: None,
        meta: Bytes::from_static(b"meta"),
    }
}

/// What a sender sends to a receiver that holds what this one holds; without the head, which the service reads.
async fn sent(staging: &Staging, rows: VecDeque<(Bytes, Bytes)>) -> Vec<peer::SnapshotChunk> {
    let held: HashSet<_> = staging
        .held_parts(GROUP)
        .await
        .unwrap()
        .into_iter()
        .collect();
    let (chunks, mut outgoing) = mpsc::channel(1_000);
    stream_rows(head(), Box::new(Rows(rows)), held, chunks)
        .await
        .unwrap();
    let mut sent = Vec::new();
    while let Some(chunk) = outgoing.recv().await {
        sent.push(chunk);
    }
    sent.remove(0);
    sent
}

async fn receive(
    staging: &Staging,
    chunks: &[peer::SnapshotChunk],
) -> Result<Arc<StagedFile>, Status> {
    let chunks = stream::iter(chunks.iter().cloned().map(Ok));
    receive_snapshot(staging, &head(), chunks).await
}

fn kinds(chunks: &[peer::SnapshotChunk]) -> (usize, usize) {
    let count = |is_it: fn(&Part) -> bool| {
        let parts = chunks.iter().filter_map(|chunk| chunk.part.as_ref());
        parts.filter(|part| is_it(part)).count()
    };
    (
        count(|part| matches!(part, Part::Rows(_))),
        count(|part| matches!(part, Part::Held(_))),
    )
}

fn read(file: &StagedFile) -> VecDeque<(Bytes, Bytes)> {
    let mut rows = VecDeque::new();
    let mut offset = file.parts_at();
    while let Some((part, next)) = file.part_at(offset).unwrap() {
        rows.extend(part.rows);
        offset = next;
    }
    rows
}

fn staging(disk: &FaultDisk) -> Staging {
    Staging::open(Arc::new(disk.clone()), Path::new("/snapshots")).unwrap()
}

#[tokio::test]
async fn what_arrived_before_a_break_is_not_sent_again() {
    let disk = FaultDisk::new();
    let receiver = staging(&disk);
    let whole = sent(&receiver, rows(u32::MAX)).await;
    let (parts, none) = kinds(&whole);
    assert!(parts > 20 && none == 0);
    let broke = receive(&receiver, &whole[..parts / 2]).await;
    assert!(broke.is_err());
    // Another process of the same node goes on with it, and it breaks again, earlier.
    let receiver = staging(&disk);
    let again = sent(&receiver, rows(u32::MAX)).await;
    assert_eq!(kinds(&again), (parts - parts / 2, parts / 2));
    assert!(receive(&receiver, &again[..3]).await.is_err());
    let last = sent(&receiver, rows(u32::MAX)).await;
    assert_eq!(kinds(&last), (parts - parts / 2, parts / 2));
    let file = receive(&receiver, &last).await.unwrap();
    assert_eq!(read(&file), rows(u32::MAX));
    drop(file);
    assert_eq!(receiver.held_parts(GROUP).await.unwrap().len(), 0);
}

#[tokio::test]
async fn rows_that_changed_meanwhile_are_sent() {
    let receiver = staging(&FaultDisk::new());
    let whole = sent(&receiver, rows(u32::MAX)).await;
    assert!(receive(&receiver, &whole[..whole.len() - 1]).await.is_err());
    let again = sent(&receiver, rows(10_000)).await;
    let (new, held) = kinds(&again);
    assert!(new > 10 && held > 10, "{new} new, {held} held");
    let file = receive(&receiver, &again).await.unwrap();
    assert_eq!(read(&file), rows(10_000));
}

#[tokio::test]
async fn parts_that_are_not_held_and_forged_ones_are_refused() {
    let receiver = staging(&FaultDisk::new());
    for (hash, expect) in [(vec![7; 16], "not held"), (vec![7; 15], "16 bytes")] {
        let part = Part::Held(hash.into());
        let forged = [peer::SnapshotChunk { part: Some(part) }];
        let refused = receive(&receiver, &forged).await.err().unwrap();
        assert!(refused.message().contains(expect), "{refused}");
    }
}

#[tokio::test]
async fn one_snapshot_of_a_group_arrives_at_a_time() {
    let receiver = staging(&FaultDisk::new());
    let whole = sent(&receiver, rows(u32::MAX)).await;
    let (sender, chunks) = mpsc::channel(1_000);
    sender.send(Ok(whole[0].clone())).await.unwrap();
    let first = tokio::spawn({
        let receiver = receiver.clone();
        let chunks = tokio_stream::wrappers::ReceiverStream::new(chunks);
        async move { receive_snapshot(&receiver, &head(), chunks).await }
    });
    // Taken by the first one, so that it has begun.
    while sender.capacity() < sender.max_capacity() {
        tokio::task::yield_now().await;
    }
    let second = receive(&receiver, &whole).await.err().unwrap();
    assert_eq!(second.code(), tonic::Code::Aborted, "{second}");
    drop(sender);
    assert!(first.await.unwrap().is_err());
    // Nor while one that has arrived is being taken over.
    let arrived = receive(&receiver, &whole).await.unwrap();
    let third = receive(&receiver, &whole).await.err().unwrap();
    assert_eq!(third.code(), tonic::Code::Aborted, "{third}");
    drop(arrived);
    assert!(receive(&receiver, &whole).await.is_ok());
}

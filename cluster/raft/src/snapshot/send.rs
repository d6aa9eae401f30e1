//! The sender's side of a snapshot.

use std::collections::HashSet;
use std::time::Duration;

use bytes::Bytes;
use ringtail_proto::GroupId;
use ringtail_proto::wire::peer::{self, raft_client::RaftClient, snapshot_chunk::Part};
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;
use tonic::transport::Channel;

use super::cutter::PartCutter;
use super::staged_file::{PartHash, part_bytes, part_hash};
use super::{SnapshotData, SnapshotPart, SnapshotSource};
use crate::convert;
use crate::error::RaftError;
use crate::machine::{Machine, MachineError};
use crate::transport::{from_vote, to_vote};
use crate::types::{Snapshot, SnapshotMeta, Vote};

/// Parts read ahead of the network.
const PARTS_AHEAD_MAX: usize = 2;

/// How long the receiver may read what it holds; sending all of it again takes longer.
const HELD_PARTS_WAIT_MAX: Duration = Duration::from_secs(30);

/// Sends a snapshot of this node's machine; returns the receiver's vote once it is installed there.
pub(crate) async fn send_snapshot(
    mut client: RaftClient<Channel>,
    group: GroupId,
    vote: Vote,
    snapshot: Snapshot,
) -> Result<Vote, RaftError> {
    let failed = |source| RaftError::Machine { group, source };
    let SnapshotData::Here(machine) = snapshot.snapshot else {
        return Err(failed(MachineError::new(
            "a received snapshot is not sent on",
        )));
    };
    let (meta, source) = open_source(&*machine, snapshot.meta)
        .await
        .map_err(failed)?;
    let head = peer::SnapshotHead {
        group: group.0,
        vote: Some(from_vote(&vote)),
        meta: convert::snapshot_meta_bytes(&meta)?,
    };
    let held = held_parts(&mut client, group).await;
    let (chunks, outgoing) = mpsc::channel(PARTS_AHEAD_MAX);
    let reading = tokio::spawn(stream_rows(head, source, held, chunks));
    let sent = client.install_snapshot(ReceiverStream::new(outgoing)).await;
    // Why the rows could not be read says more than that the stream ended early.
    if let Ok(Err(error)) = reading.await {
        return Err(failed(error));
    }
    let reply = sent.map_err(|status| failed(MachineError::new(status)))?;
    to_vote(reply.into_inner().vote)
}

/// What the receiver holds of a transfer that broke. Without an answer everything is sent.
async fn held_parts(client: &mut RaftClient<Channel>, group: GroupId) -> HashSet<PartHash> {
    let asked = client.held_parts(peer::HeldPartsRequest { group: group.0 });
    let answer = timeout(HELD_PARTS_WAIT_MAX, asked).await;
    match answer.unwrap_or_else(|_| Err(Status::deadline_exceeded("it takes too long"))) {
        Ok(reply) => {
            let hashes = reply.into_inner().hashes;
            hashes.as_chunks().0.iter().copied().collect()
        }
        Err(status) => {
            tracing::debug!(%group, %status, "it is not known what is held");
            HashSet::new()
        }
    }
}

/// The rows of now, and what they are: the machine may be durable further than when openraft asked.
async fn open_source(
    machine: &dyn Machine,
    asked: SnapshotMeta,
) -> Result<(SnapshotMeta, Box<dyn SnapshotSource>), MachineError> {
    let (floor, source) = machine.snapshot().await?;
    let position = floor
        .position
        .ok_or_else(|| MachineError::new("nothing is durable yet"))?;
    let membership = match &floor.membership {
        Some(bytes) => convert::membership(bytes).map_err(MachineError::new)?,
        None => asked.last_membership,
    };
    let meta = SnapshotMeta {
        last_log_id: Some(convert::position_log_id(position)),
        last_membership: membership,
    };
    Ok((meta, source))
}

/// Ends early, without an error of its own, when the receiver takes no more.
pub(super) async fn stream_rows(
    head: peer::SnapshotHead,
    mut source: Box<dyn SnapshotSource>,
    held: HashSet<PartHash>,
    chunks: mpsc::Sender<peer::SnapshotChunk>,
) -> Result<(), MachineError> {
    let mut outgoing = Outgoing {
        chunks,
        held,
        rows: 0,
        hasher: blake3::Hasher::new(),
    };
    let mut cutter = PartCutter::default();
    let mut is_taken = outgoing.send(Part::Head(head)).await;
    while is_taken && let Some(part) = source.next().await? {
        for (key, value) in part.rows {
            for part in cutter.push(key, value) {
                is_taken = is_taken && outgoing.send_part(part).await?;
            }
        }
    }
    if let Some(part) = cutter.rest() {
        is_taken = is_taken && outgoing.send_part(part).await?;
    }
    if is_taken {
        outgoing.send_end().await;
    }
    Ok(())
}

/// A snapshot on its way out.
struct Outgoing {
    chunks: mpsc::Sender<peer::SnapshotChunk>,
    /// Parts that need not be sent.
    held: HashSet<PartHash>,
    rows: u64,
    hasher: blake3::Hasher,
}

impl Outgoing {
    /// False when the receiver takes no more.
    async fn send(&self, part: Part) -> bool {
        let chunk = peer::SnapshotChunk { part: Some(part) };
        self.chunks.send(chunk).await.is_ok()
    }

    async fn send_part(&mut self, part: SnapshotPart) -> Result<bool, MachineError> {
        self.rows += part.rows.len() as u64;
        hash_rows(&mut self.hasher, &part);
        let hash = part_hash(&part_bytes(&part).map_err(MachineError::new)?);
        if self.held.contains(&hash) {
            metrics::counter!("ringtail_replicate_snapshot_parts_held_total").increment(1);
            return Ok(self.send(Part::Held(Bytes::copy_from_slice(&hash))).await);
        }
        metrics::counter!("ringtail_replicate_snapshot_parts_sent_total").increment(1);
        let (keys, values) = part.rows.into_iter().unzip();
        Ok(self
            .send(Part::Rows(peer::SnapshotRows { keys, values }))
            .await)
    }

    /// The receiver's answer says whether it arrived.
    async fn send_end(&self) {
        let end = peer::SnapshotEnd {
            rows: self.rows,
            hash: Bytes::copy_from_slice(self.hasher.finalize().as_bytes()),
        };
        self.send(Part::End(end)).await;
    }
}

/// Lengths are hashed too, so that bytes cannot move between rows.
pub(super) fn hash_rows(hasher: &mut blake3::Hasher, part: &SnapshotPart) {
    for field in part.rows.iter().flat_map(|(key, value)| [key, value]) {
        hasher.update(&(field.len() as u64).to_le_bytes());
        hasher.update(field);
    }
}

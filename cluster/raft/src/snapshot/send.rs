//! The sender's side of a snapshot.

use bytes::Bytes;
use ringtail_proto::GroupId;
use ringtail_proto::wire::peer::{self, raft_client::RaftClient, snapshot_chunk::Part};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Channel;

use super::{SnapshotData, SnapshotSource};
use crate::convert;
use crate::error::RaftError;
use crate::machine::{Machine, MachineError};
use crate::transport::{from_vote, to_vote};
use crate::types::{Snapshot, SnapshotMeta, Vote};

/// Parts read ahead of the network.
const PARTS_AHEAD_MAX: usize = 2;

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
    let (chunks, outgoing) = mpsc::channel(PARTS_AHEAD_MAX);
    let reading = tokio::spawn(stream_rows(head, source, chunks));
    let sent = client.install_snapshot(ReceiverStream::new(outgoing)).await;
    // Why the rows could not be read says more than that the stream ended early.
    if let Ok(Err(error)) = reading.await {
        return Err(failed(error));
    }
    let reply = sent.map_err(|status| failed(MachineError::new(status)))?;
    to_vote(reply.into_inner().vote)
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
async fn stream_rows(
    head: peer::SnapshotHead,
    mut source: Box<dyn SnapshotSource>,
    chunks: mpsc::Sender<peer::SnapshotChunk>,
) -> Result<(), MachineError> {
    let chunk = |part| peer::SnapshotChunk { part: Some(part) };
    if chunks.send(chunk(Part::Head(head))).await.is_err() {
        return Ok(());
    }
    let (mut rows, mut hasher) = (0, blake3::Hasher::new());
    while let Some(part) = source.next().await? {
        rows += part.rows.len() as u64;
        let (keys, values): (Vec<Bytes>, Vec<Bytes>) = part.rows.into_iter().unzip();
        hash_rows(&mut hasher, &keys, &values);
        let part = Part::Rows(peer::SnapshotRows { keys, values });
        if chunks.send(chunk(part)).await.is_err() {
            return Ok(());
        }
    }
    let end = peer::SnapshotEnd {
        rows,
        hash: Bytes::copy_from_slice(hasher.finalize().as_bytes()),
    };
    // The receiver's answer says whether it arrived.
    let _ = chunks.send(chunk(Part::End(end))).await;
    Ok(())
}

/// Lengths are hashed too, so that bytes cannot move between rows.
pub(super) fn hash_rows(hasher: &mut blake3::Hasher, keys: &[Bytes], values: &[Bytes]) {
    for field in keys
        .iter()
        .zip(values)
        .flat_map(|(key, value)| [key, value])
    {
        hasher.update(&(field.len() as u64).to_le_bytes());
        hasher.update(field);
    }
}

//! What other nodes ask of this node's groups.

use std::sync::Arc;

use openraft::raft::{TransferLeaderRequest, VoteRequest};
use ringtail_proto::GroupId;
use ringtail_proto::wire::peer::{
    self,
    raft_server::{Raft as RaftRpc, RaftServer},
    snapshot_chunk::Part,
};
use tokio::sync::{Semaphore, mpsc, watch};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming, async_trait};

use super::inbound::{Inbound, send_replies};
use super::{MESSAGE_BYTES_MAX, from_log_id, from_vote, to_log_id, to_vote};
use crate::convert;
use crate::group::Group;
use crate::raft_node::{Groups, find_group};
use crate::snapshot::{SnapshotData, Staging, receive_snapshot};
use crate::types::Snapshot;

/// Answers waiting for a slow stream.
const REPLIES_WAITING_MAX: usize = 4096;
/// Messages handed to the connection ahead of what it has sent.
const MESSAGES_AHEAD_MAX: usize = 4;
/// Snapshots received at once: each takes disk and log bandwidth.
const SNAPSHOTS_RECEIVED_MAX: usize = 2;

/// Answers other nodes for all groups of this one.
pub(crate) struct RaftService {
    groups: Arc<Groups>,
    staging: Option<Staging>,
    snapshots: Semaphore,
    stopped: watch::Receiver<bool>,
}

impl RaftService {
    /// Streams end when the node says that it has stopped.
    pub(crate) fn server(
        groups: Arc<Groups>,
        staging: Option<Staging>,
        stopped: watch::Receiver<bool>,
    ) -> RaftServer<Self> {
        let service = Self {
            groups,
            staging,
            stopped,
            snapshots: Semaphore::new(SNAPSHOTS_RECEIVED_MAX),
        };
        RaftServer::new(service)
            .max_decoding_message_size(MESSAGE_BYTES_MAX)
            .max_encoding_message_size(MESSAGE_BYTES_MAX)
    }

    fn group(&self, group: u32) -> Result<Group, Status> {
        find_group(&self.groups, GroupId(group))
            .ok_or_else(|| Status::not_found(format!("group {group} is not here")))
    }
}

#[async_trait]
impl RaftRpc for RaftService {
    type ReplicateStream = ReceiverStream<Result<peer::AppendReplies, Status>>;

    async fn replicate(
        &self,
        request: Request<Streaming<peer::AppendFrames>>,
    ) -> Result<Response<Self::ReplicateStream>, Status> {
        let (replies, gathered) = mpsc::channel(REPLIES_WAITING_MAX);
        let (messages, outgoing) = mpsc::channel(MESSAGES_AHEAD_MAX);
        tokio::spawn(send_replies(gathered, messages));
        let inbound = Inbound::new(self.groups.clone(), replies);
        tokio::spawn(inbound.run(request.into_inner(), self.stopped.clone()));
        Ok(Response::new(ReceiverStream::new(outgoing)))
    }

    async fn vote(
        &self,
        request: Request<peer::VoteRequest>,
    ) -> Result<Response<peer::VoteReply>, Status> {
        let message = request.into_inner();
        let raft = self.group(message.group)?.raft().clone();
        let vote = to_vote(message.vote).map_err(malformed)?;
        let mut request = VoteRequest::new(vote, message.last.map(to_log_id));
        request.leadership_transfer = message.is_leadership_transfer;
        let answered = if message.is_trial {
            raft.pre_vote(request).await
        } else {
            raft.vote(request).await
        };
        let answer = answered.map_err(stopped)?;
        Ok(Response::new(peer::VoteReply {
            vote: Some(from_vote(&answer.vote)),
            last: answer.last_log_id.as_ref().map(from_log_id),
            is_granted: answer.vote_granted,
        }))
    }

    async fn transfer_leader(
        &self,
        request: Request<peer::TransferLeaderRequest>,
    ) -> Result<Response<peer::TransferLeaderReply>, Status> {
        let message = request.into_inner();
        let group = self.group(message.group)?;
        if message.to == group.node().0 && group.has_withdrawn() {
            return Ok(Response::new(peer::TransferLeaderReply {
                is_accepted: false,
                refusal: "the node is about to stop".to_owned(),
            }));
        }
        let raft = group.raft().clone();
        let from = to_vote(message.from).map_err(malformed)?;
        let request = TransferLeaderRequest::new(from, message.to, message.last.map(to_log_id));
        let answer = raft
            .handle_transfer_leader(request)
            .await
            .map_err(stopped)?;
        Ok(Response::new(peer::TransferLeaderReply {
            is_accepted: answer.is_ok(),
            refusal: answer
                .err()
                .map(|refusal| refusal.to_string())
                .unwrap_or_default(),
        }))
    }

    async fn install_snapshot(
        &self,
        request: Request<Streaming<peer::SnapshotChunk>>,
    ) -> Result<Response<peer::SnapshotReply>, Status> {
        let mut chunks = request.into_inner();
        let first = chunks.message().await?.and_then(|chunk| chunk.part);
        let Some(Part::Head(head)) = first else {
            return Err(Status::invalid_argument("a snapshot begins with its head"));
        };
        let group = self.group(head.group)?;
        let vote = to_vote(head.vote).map_err(malformed)?;
        let meta = convert::snapshot_meta(&head.meta).map_err(malformed)?;
        // Openraft takes for granted what a leader's snapshot cannot be.
        let leader = meta.last_log_id.map(|id| id.leader_id);
        if leader.is_none_or(|leader| leader.term > vote.leader_id.term) || !vote.committed {
            return Err(Status::invalid_argument("no leader has such a snapshot"));
        }
        let staging = self.staging.as_ref();
        let staging = staging.ok_or_else(|| Status::unimplemented("no room for snapshots"))?;
        let _permit = self.snapshots.acquire().await.map_err(stopped)?;
        tracing::info!(group = head.group, ?meta, "snapshot arrives");
        let file = receive_snapshot(staging, &head, chunks).await?;
        let snapshot = Snapshot {
            meta,
            snapshot: SnapshotData::Received(file),
        };
        let installed = group.raft().install_full_snapshot(vote, snapshot).await;
        let response = installed.map_err(stopped)?;
        Ok(Response::new(peer::SnapshotReply {
            vote: Some(from_vote(&response.vote)),
        }))
    }

    async fn held_parts(
        &self,
        request: Request<peer::HeldPartsRequest>,
    ) -> Result<Response<peer::HeldPartsReply>, Status> {
        let group = self.group(request.into_inner().group)?;
        let staging = self.staging.as_ref();
        let staging = staging.ok_or_else(|| Status::unimplemented("no room for snapshots"))?;
        let held = staging.held_parts(group.id()).await;
        let held = held.map_err(|error| Status::internal(error.to_string()))?;
        Ok(Response::new(peer::HeldPartsReply {
            hashes: held.concat().into(),
        }))
    }
}

fn malformed(error: impl ToString) -> Status {
    metrics::counter!("ringtail_replicate_malformed_messages_total").increment(1);
    Status::invalid_argument(error.to_string())
}

fn stopped(error: impl ToString) -> Status {
    Status::unavailable(error.to_string())
}

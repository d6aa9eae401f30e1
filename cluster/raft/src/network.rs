//! How a group reaches its peers.
//!
//! A ring of one has none: a connection to any other node answers that it is unreachable, which is the truth.

use std::future::Future;
use std::iter;
use std::time::Duration;

use bytes::Bytes;
use futures::Stream;
use openraft::base::{BoxFuture, BoxStream};
use openraft::errors::{RPCError, ReplicationClosed, StreamingError, Unreachable};
use openraft::network::{
    Backoff, NetBackoff, NetSnapshot, NetStreamAppend, NetTransferLeader, NetVote, RPCOption,
    RaftNetworkFactory,
};
use openraft::raft::{
    AppendEntriesRequest, SnapshotResponse, StreamAppendResult, TransferLeaderRequest,
    TransferLeaderResponse, VoteRequest, VoteResponse,
};
use openraft::{AnyError, EmptyNode, OptionalSend};
use ringtail_proto::{GroupId, NodeId};

use crate::types::{Snapshot, TypeConfig, Vote};

/// Pause between attempts to reach a peer.
const BACKOFF: Duration = Duration::from_millis(50);

/// Makes the connections of one group.
pub(crate) struct Network {
    group: GroupId,
}

impl Network {
    pub(crate) fn new(group: GroupId) -> Self {
        Self { group }
    }
}

impl RaftNetworkFactory<TypeConfig> for Network {
    type Network = Connection;

    async fn new_client(&mut self, target: u64, _node: &EmptyNode) -> Connection {
        Connection {
            group: self.group,
            target: NodeId(target),
        }
    }
}

/// One group's connection to one node.
pub(crate) struct Connection {
    group: GroupId,
    target: NodeId,
}

impl Connection {
    fn unreachable(&self) -> Unreachable<TypeConfig> {
        let (group, target) = (self.group, self.target);
        let text = format!("no route to node {target} for group {group}: the ring has one node");
        Unreachable::new(&AnyError::error(text))
    }
}

impl NetBackoff<TypeConfig> for Connection {
    fn backoff(&self) -> Option<Backoff> {
        Some(Backoff::new(iter::repeat(BACKOFF)))
    }
}

type AppendResults<'s> =
    BoxStream<'s, Result<StreamAppendResult<TypeConfig>, RPCError<TypeConfig>>>;

impl NetStreamAppend<TypeConfig> for Connection {
    fn stream_append<'s, S>(
        &'s mut self,
        _input: S,
        _option: RPCOption,
    ) -> BoxFuture<'s, Result<AppendResults<'s>, RPCError<TypeConfig>>>
    where
        S: Stream<Item = AppendEntriesRequest<TypeConfig>> + OptionalSend + Unpin + 'static,
    {
        let error = RPCError::Unreachable(self.unreachable());
        Box::pin(async move { Err(error) })
    }
}

impl NetVote<TypeConfig> for Connection {
    async fn vote(
        &mut self,
        _request: VoteRequest<TypeConfig>,
        _option: RPCOption,
    ) -> Result<VoteResponse<TypeConfig>, RPCError<TypeConfig>> {
        Err(RPCError::Unreachable(self.unreachable()))
    }

    /// Overridden, because openraft takes a missing answer for a granted one.
    async fn pre_vote(
        &mut self,
        _request: VoteRequest<TypeConfig>,
        _option: RPCOption,
    ) -> Result<VoteResponse<TypeConfig>, RPCError<TypeConfig>> {
        Err(RPCError::Unreachable(self.unreachable()))
    }
}

impl NetSnapshot<TypeConfig> for Connection {
    type SnapshotData = Bytes;

    async fn full_snapshot(
        &mut self,
        _vote: Vote,
        _snapshot: Snapshot,
        _cancel: impl Future<Output = ReplicationClosed> + OptionalSend + 'static,
        _option: RPCOption,
    ) -> Result<SnapshotResponse<TypeConfig>, StreamingError<TypeConfig>> {
        Err(StreamingError::Unreachable(self.unreachable()))
    }
}

impl NetTransferLeader<TypeConfig> for Connection {
    async fn transfer_leader(
        &mut self,
        _request: TransferLeaderRequest<TypeConfig>,
        _option: RPCOption,
    ) -> Result<TransferLeaderResponse<TypeConfig>, RPCError<TypeConfig>> {
        Err(RPCError::Unreachable(self.unreachable()))
    }
}

//! One group's replica on another node, as openraft reaches it.

use std::future::Future;
use std::iter;
use std::sync::Arc;
use std::time::Duration;

use futures::{Stream, StreamExt, stream};
use openraft::base::{BoxFuture, BoxStream};
use openraft::errors::{
    NetworkError, RPCError, ReplicationClosed, StreamingError, Timeout, Unreachable,
};
use openraft::network::{
    Backoff, NetBackoff, NetSnapshot, NetStreamAppend, NetTransferLeader, NetVote, RPCOption,
    RPCTypes, RaftNetworkFactory,
};
use openraft::raft::{
    AppendEntriesRequest, SnapshotResponse, StreamAppendResult, TransferLeaderRequest,
    TransferLeaderResponse, VoteRequest, VoteResponse,
};
use openraft::{AnyError, EmptyNode, OptionalSend};
use ringtail_proto::wire::peer::{self, raft_client::RaftClient};
use ringtail_proto::{GroupId, NodeId};
use tonic::transport::Channel;

use super::links::Links;
use super::pipe::{AnswerReceiver, Pipe, Session};
use super::wire::{
    Answer, MESSAGE_BYTES_MAX, from_append, from_log_id, from_vote, to_log_id, to_vote,
};
use crate::snapshot::{SnapshotData, send_snapshot};
use crate::types::{Snapshot, TypeConfig, Vote};

/// Pause between attempts to reach a peer.
const BACKOFF: Duration = Duration::from_millis(50);

type RpcError = RPCError<TypeConfig>;

/// Whether a majority has acknowledged this node as the leader of a group a short time ago.
pub(crate) type IsBacked = Arc<dyn Fn(GroupId) -> bool + Send + Sync>;

/// Makes the connections of one group.
pub(crate) struct Network {
    node: NodeId,
    group: GroupId,
    links: Arc<Links>,
    is_backed: IsBacked,
}

impl Network {
    pub(crate) fn new(
        node: NodeId,
        group: GroupId,
        links: Arc<Links>,
        is_backed: IsBacked,
    ) -> Self {
        Self {
            node,
            group,
            links,
            is_backed,
        }
    }

    fn connection(&self, target: u64, is_for_heartbeats: bool) -> Connection {
        Connection {
            node: self.node,
            group: self.group,
            target: NodeId(target),
            links: self.links.clone(),
            is_backed: self.is_backed.clone(),
            is_for_heartbeats,
        }
    }
}

impl RaftNetworkFactory<TypeConfig> for Network {
    type Network = Connection;

    async fn new_client(&mut self, target: u64, _node: &EmptyNode) -> Connection {
        self.connection(target, false)
    }

    async fn new_heartbeat_client(&mut self, target: u64, _node: &EmptyNode) -> Connection {
        self.connection(target, true)
    }
}

/// One group's way to one node.
pub(crate) struct Connection {
    node: NodeId,
    group: GroupId,
    target: NodeId,
    links: Arc<Links>,
    is_backed: IsBacked,
    is_for_heartbeats: bool,
}

impl Connection {
    fn client(&self) -> Result<RaftClient<Channel>, Unreachable<TypeConfig>> {
        let channel = (self.links.channels())(self.target);
        let channel = channel.ok_or_else(|| self.unreachable("it is not known"))?;
        Ok(RaftClient::new(channel)
            .max_decoding_message_size(MESSAGE_BYTES_MAX)
            .max_encoding_message_size(MESSAGE_BYTES_MAX))
    }

    fn unreachable(&self, reason: impl std::fmt::Display) -> Unreachable<TypeConfig> {
        let (group, target) = (self.group, self.target);
        let text = format!("node {target} cannot be reached for group {group}: {reason}");
        Unreachable::new(&AnyError::error(text))
    }

    async fn ask_for_vote(
        &self,
        request: VoteRequest<TypeConfig>,
        is_trial: bool,
        option: RPCOption,
    ) -> Result<VoteResponse<TypeConfig>, RpcError> {
        let mut client = self.client()?;
        let message = peer::VoteRequest {
            group: self.group.0,
            vote: Some(from_vote(&request.vote)),
            last: request.last_log_id.as_ref().map(from_log_id),
            is_leadership_transfer: request.leadership_transfer,
            is_trial,
        };
        let asked = tokio::time::timeout(option.hard_ttl(), client.vote(message));
        let reply = match asked.await {
            Ok(Ok(reply)) => reply.into_inner(),
            Ok(Err(status)) => return Err(self.unreachable(status).into()),
            Err(_elapsed) => return Err(self.timeout(option.hard_ttl()).into()),
        };
        let vote = to_vote(reply.vote).map_err(network_error)?;
        Ok(VoteResponse::new(
            vote,
            reply.last.map(to_log_id),
            reply.is_granted,
        ))
    }

    fn timeout(&self, timeout: Duration) -> Timeout<TypeConfig> {
        Timeout {
            action: RPCTypes::Vote,
            id: self.node.0,
            target: self.target.0,
            timeout,
        }
    }
}

impl NetBackoff<TypeConfig> for Connection {
    fn backoff(&self) -> Option<Backoff> {
        Some(Backoff::new(iter::repeat(BACKOFF)))
    }
}

type AppendResults<'s> = BoxStream<'s, Result<StreamAppendResult<TypeConfig>, RpcError>>;

impl NetStreamAppend<TypeConfig> for Connection {
    fn stream_append<'s, S>(
        &'s mut self,
        input: S,
        _option: RPCOption,
    ) -> BoxFuture<'s, Result<AppendResults<'s>, RpcError>>
    where
        S: Stream<Item = AppendEntriesRequest<TypeConfig>> + OptionalSend + Unpin + 'static,
    {
        let link = self.links.link(self.target);
        Box::pin(async move {
            if self.is_for_heartbeats {
                return self.one_append(&link.heartbeats, input).await;
            }
            // openraft pauses after an error only when it is asked for the next append, which a missing stream never
            // does: without this pause a leader would spin for as long as a peer is away.
            let mut is_up = link.appends.watch();
            let _ = tokio::time::timeout(BACKOFF, is_up.wait_for(|is_up| *is_up)).await;
            self.many_appends(&link.appends, input)
        })
    }
}

impl Connection {
    /// A heartbeat: one append, one answer.
    async fn one_append<'s, S>(
        &self,
        pipe: &Pipe,
        mut input: S,
    ) -> Result<AppendResults<'s>, RpcError>
    where
        S: Stream<Item = AppendEntriesRequest<TypeConfig>> + OptionalSend + Unpin + 'static,
    {
        let opened = pipe.open(self.group.0);
        let (session, mut answers) = opened.ok_or_else(|| self.unreachable("no stream"))?;
        let Some(request) = input.next().await else {
            return Ok(Box::pin(stream::empty()));
        };
        let append = from_append(request).map_err(network_error)?;
        let is_backed = (self.is_backed)(self.group);
        if !session.send_heartbeat(append, is_backed).await {
            return Err(self.unreachable("the stream broke").into());
        }
        let answer = stream::once(async move {
            let answer = answers.recv().await;
            drop(session);
            answer_of(answer)
        });
        Ok(Box::pin(answer.filter_map(std::future::ready)))
    }

    /// Appends in order, answered in order, as many ahead as the receiver takes.
    fn many_appends<'s, S>(&self, pipe: &Pipe, input: S) -> Result<AppendResults<'s>, RpcError>
    where
        S: Stream<Item = AppendEntriesRequest<TypeConfig>> + OptionalSend + Unpin + 'static,
    {
        let opened = pipe.open(self.group.0);
        let (session, answers) = opened.ok_or_else(|| self.unreachable("no stream"))?;
        let run = Run {
            session,
            answers,
            input: Some(input),
            has_sent: false,
        };
        let results = stream::unfold(Some(run), |run| async move {
            let mut run = run?;
            let answer = run.next().await?;
            let is_over = !matches!(answer, Ok(Ok(_)));
            Some((answer, (!is_over).then_some(run)))
        });
        Ok(Box::pin(results))
    }
}

/// A run of appends under way. All of it ends when it is dropped: what takes from the input must not live on beside the
/// next run, whose first append it would take.
struct Run<S> {
    session: Session,
    answers: AnswerReceiver,
    /// None once it has ended.
    input: Option<S>,
    has_sent: bool,
}

impl<S> Run<S>
where
    S: Stream<Item = AppendEntriesRequest<TypeConfig>> + Unpin,
{
    /// Sends what there is to send until an answer comes; none at an orderly end.
    async fn next(&mut self) -> Option<Result<StreamAppendResult<TypeConfig>, RpcError>> {
        loop {
            let Some(input) = &mut self.input else {
                return answer_of(self.answers.recv().await);
            };
            let request = tokio::select! {
                // In this order, not in a drawn one, so that simulated runs repeat.
                biased;
                answer = self.answers.recv() => return answer_of(answer),
                request = input.next() => request,
            };
            match request.map(from_append) {
                Some(Ok(append)) => {
                    self.has_sent = true;
                    self.session.send(append).await;
                }
                Some(Err(error)) => {
                    tracing::error!(%error, "an entry cannot be sent");
                    return Some(Err(network_error(error)));
                }
                // Nobody knows of a run without appends, so nobody would answer its end.
                None if !self.has_sent => return None,
                None => {
                    self.session.end().await;
                    self.input = None;
                }
            }
        }
    }
}

/// `None` at an orderly end.
fn answer_of(answer: Option<Answer>) -> Option<Result<StreamAppendResult<TypeConfig>, RpcError>> {
    match answer {
        Some(Answer::Append(result)) => Some(Ok(result)),
        Some(Answer::Ended) => None,
        Some(Answer::Broken(reason)) => Some(Err(network_error(reason))),
        None => Some(Err(network_error("the stream broke"))),
    }
}

fn network_error(reason: impl ToString) -> RpcError {
    let error = AnyError::error(reason.to_string());
    RPCError::Network(NetworkError::new(&error))
}

impl NetVote<TypeConfig> for Connection {
    async fn vote(
        &mut self,
        request: VoteRequest<TypeConfig>,
        option: RPCOption,
    ) -> Result<VoteResponse<TypeConfig>, RpcError> {
        self.ask_for_vote(request, false, option).await
    }

    /// Asked for real, because openraft takes a missing implementation for a granted vote.
    async fn pre_vote(
        &mut self,
        request: VoteRequest<TypeConfig>,
        option: RPCOption,
    ) -> Result<VoteResponse<TypeConfig>, RpcError> {
        self.ask_for_vote(request, true, option).await
    }
}

impl NetSnapshot<TypeConfig> for Connection {
    type SnapshotData = SnapshotData;

    async fn full_snapshot(
        &mut self,
        vote: Vote,
        snapshot: Snapshot,
        cancel: impl Future<Output = ReplicationClosed> + OptionalSend + 'static,
        _option: RPCOption,
    ) -> Result<SnapshotResponse<TypeConfig>, StreamingError<TypeConfig>> {
        let client = self.client().map_err(StreamingError::Unreachable)?;
        tokio::select! {
            closed = cancel => Err(StreamingError::Closed(closed)),
            sent = send_snapshot(client, self.group, vote, snapshot) => match sent {
                Ok(vote) => Ok(SnapshotResponse::new(vote)),
                Err(error) => {
                    let (group, target) = (self.group, self.target);
                    tracing::warn!(%group, %target, %error, "snapshot did not arrive");
                    Err(StreamingError::Unreachable(self.unreachable(error)))
                }
            }
        }
    }
}

impl NetTransferLeader<TypeConfig> for Connection {
    async fn transfer_leader(
        &mut self,
        request: TransferLeaderRequest<TypeConfig>,
        option: RPCOption,
    ) -> Result<TransferLeaderResponse<TypeConfig>, RpcError> {
        let mut client = self.client()?;
        let message = peer::TransferLeaderRequest {
            group: self.group.0,
            from: Some(from_vote(request.from_leader())),
            to: *request.to_node_id(),
            last: request.last_log_id().map(from_log_id),
        };
        let asked = tokio::time::timeout(option.hard_ttl(), client.transfer_leader(message));
        match asked.await {
            Ok(Ok(reply)) => {
                let reply = reply.into_inner();
                if !reply.is_accepted {
                    return Err(network_error(reply.refusal));
                }
                Ok(Ok(()))
            }
            Ok(Err(status)) => Err(self.unreachable(status).into()),
            Err(_elapsed) => Err(self.timeout(option.hard_ttl()).into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn connection() -> Connection {
        let (links, _opened) = Links::new(Arc::new(|_| None));
        Network::new(NodeId(1), GroupId(1), links, Arc::new(|_| true)).connection(2, false)
    }

    #[tokio::test]
    async fn a_run_without_appends_ends_by_itself() {
        let pipe = Pipe::to_nowhere();
        let results = connection().many_appends(&pipe, stream::empty());
        let next = async { results.expect("it stands").next().await };
        let next = tokio::time::timeout(Duration::from_secs(10), next).await;
        assert!(next.expect("nobody is waited for").is_none());
    }

    #[tokio::test]
    async fn nothing_takes_from_the_input_of_a_run_that_was_dropped() {
        let pipe = Pipe::to_nowhere();
        let (appends, input) = futures::channel::mpsc::unbounded();
        let results = connection().many_appends(&pipe, input);
        let mut results = results.expect("it stands");
        // The run has begun to wait for its first append.
        assert!(futures::poll!(results.next()).is_pending());
        assert!(!appends.is_closed());
        drop(results);
        assert!(appends.is_closed());
    }
}

//! Reading at other nodes: one hop, one after the other, within bounded time.

use std::sync::Arc;

use futures::future::{BoxFuture, join_all};
use ringtail_metadata::Directory;
use ringtail_peers::{PeerState, Peers};
use ringtail_proto::{
    ErrorKind, GroupId, NodeId, SiteId,
    wire::peer::{self, queries_client::QueriesClient},
};
use tokio::time::{Duration, Instant, timeout};
use tonic::{Response, Status, transport::Channel};

use super::{
    LocalReplicas,
    turns::{NoAnswer, ask_in_turn},
};
use crate::api_error::ApiError;

/// How long a node may take for what only it can do.
const DEED_WAIT_MAX: Duration = Duration::from_secs(3);
/// Bytes of an answer: the most rows with the longest values.
const ANSWER_BYTES_MAX: usize = 64 << 20;

type Answer<T> = BoxFuture<'static, Result<Response<T>, Status>>;

/// Reads at the other nodes that hold a site's partition.
#[derive(Clone)]
pub(crate) struct PeerReplicas {
    directory: Arc<Directory>,
    local: LocalReplicas,
    peers: Peers,
}

impl PeerReplicas {
    pub(crate) fn new(directory: Arc<Directory>, local: LocalReplicas, peers: Peers) -> Self {
        Self {
            directory,
            local,
            peers,
        }
    }

    /// Asks the nodes that hold a site's partition, its leader first, until one answers.
    pub(crate) async fn ask<T>(
        &self,
        site: SiteId,
        deadline: Instant,
        call: impl Fn(QueriesClient<Channel>) -> Answer<T>,
    ) -> Result<T, NoAnswer> {
        let group = self.local.group_of(site);
        let ask = |node| {
            let call = &call;
            async move {
                // It is called again every second, without anybody waiting for that.
                match self.peers.state(node) {
                    PeerState::Unreachable => Err(Status::unavailable("it cannot be reached")),
                    _ => self.ask_node(node, call).await,
                }
            }
        };
        ask_in_turn(group, self.holders(group), deadline, ask).await
    }

    /// Asks one node.
    pub(crate) async fn ask_one<T>(
        &self,
        node: NodeId,
        call: impl FnOnce(QueriesClient<Channel>) -> Answer<T>,
    ) -> Result<T, ApiError> {
        let asked = self.ask_briefly(node, call).await;
        asked.map_err(|status| {
            let message = format!("node {node}: {}", status.message());
            ApiError::new(ErrorKind::Unavailable, message)
        })
    }

    /// Tells every other node but one that an import is finished. One that cannot be told now merges late events by itself within
    /// minutes, and forgets the key as soon as it is in touch with the keeper of salts.
    pub(crate) async fn finish_import(
        &self,
        request: &peer::FinishImportRequest,
        but: Option<NodeId>,
    ) {
        let nodes = self.peers.nodes().into_iter();
        let others = nodes.filter(|node| Some(*node) != but);
        let finishing = others.map(async |node| {
            let (request, site) = (request.clone(), request.site);
            let call = |mut client: QueriesClient<Channel>| -> Answer<peer::FinishImportReply> {
                Box::pin(async move { client.finish_import(request).await })
            };
            if let Err(status) = self.ask_briefly(node, call).await {
                let message = status.message();
                tracing::warn!(%node, site, message, "an import is not finished there");
            }
        });
        join_all(finishing).await;
    }

    async fn ask_briefly<T>(
        &self,
        node: NodeId,
        call: impl FnOnce(QueriesClient<Channel>) -> Answer<T>,
    ) -> Result<T, Status> {
        match timeout(DEED_WAIT_MAX, self.ask_node(node, call)).await {
            Ok(answer) => answer,
            Err(_elapsed) => Err(Status::unavailable("it does not answer in time")),
        }
    }

    async fn ask_node<T>(
        &self,
        node: NodeId,
        call: impl FnOnce(QueriesClient<Channel>) -> Answer<T>,
    ) -> Result<T, Status> {
        let channel = self.peers.channel(node);
        let channel = channel.ok_or_else(|| Status::unavailable("there is no connection"))?;
        let client = QueriesClient::new(channel).max_decoding_message_size(ANSWER_BYTES_MAX);
        call(client).await.map(Response::into_inner)
    }

    /// The other nodes that hold a group: its leader, then those that are reached, then the rest.
    fn holders(&self, group: GroupId) -> Vec<NodeId> {
        let placement = self.directory.placement();
        let hosts = placement.get(&group).map(|place| place.hosts.clone());
        let mut hosts = hosts.unwrap_or_default();
        hosts.retain(|node| *node != self.local.node());
        let leader = self.local.leader(group);
        hosts.sort_by_key(|node| {
            let is_reached = self.peers.state(*node) == PeerState::Reached;
            (!is_reached, Some(*node) != leader)
        });
        hosts
    }
}

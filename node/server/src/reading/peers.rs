//! Reading at other nodes: one hop, one after the other, within bounded time.

use std::{sync::Arc, time::Duration};

use futures::future::{BoxFuture, join_all};
use ringtail_metadata::Directory;
use ringtail_peers::{PeerState, Peers};
use ringtail_proto::{
    ErrorKind, GroupId, NodeId, SiteId,
    wire::peer::{self, queries_client::QueriesClient},
};
use tokio::time::{Instant, timeout, timeout_at};
use tonic::{Code, Response, Status, transport::Channel};

use super::LocalReplicas;
use crate::api_error::ApiError;

/// How long one node may take to answer.
const ANSWER_WAIT_MAX: Duration = Duration::from_secs(3);
/// How long all nodes together may take.
const ANSWERS_WAIT_MAX: Duration = Duration::from_secs(8);
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

    /// Asks the nodes that hold a site's partition, its leader first, until one answers. What is the caller's fault is an
    /// answer.
    pub(crate) async fn ask<T>(
        &self,
        site: SiteId,
        call: impl Fn(QueriesClient<Channel>) -> Answer<T>,
    ) -> Result<T, ApiError> {
        let group = self.local.group_of(site);
        let deadline = Instant::now() + ANSWERS_WAIT_MAX;
        let mut refusals = Vec::new();
        for node in self.holders(group) {
            let asked = self.ask_node(node, &call);
            let refusal = match timeout_at(deadline, asked).await {
                Ok(Ok(answer)) => return Ok(answer),
                Ok(Err(status)) => match fault_of_caller(&status) {
                    Some(fault) => return Err(fault),
                    None => status.message().to_owned(),
                },
                Err(_elapsed) => "no time is left".to_owned(),
            };
            metrics::counter!("ringtail_query_peer_refusals_total").increment(1);
            refusals.push(format!("node {node}: {refusal}"));
        }
        Err(nobody_answers(group, &refusals))
    }

    /// Asks one node.
    pub(crate) async fn ask_one<T>(
        &self,
        node: NodeId,
        call: impl FnOnce(QueriesClient<Channel>) -> Answer<T>,
    ) -> Result<T, ApiError> {
        let asked = self.ask_node(node, call).await;
        asked.map_err(|status| {
            let message = format!("node {node}: {}", status.message());
            ApiError::new(ErrorKind::Unavailable, message)
        })
    }

    /// Tells every other node that an import is finished. One that cannot be told now merges late events by itself within
    /// minutes, and forgets the key as soon as it is in touch with the keeper of salts.
    pub(crate) async fn finish_import(&self, request: &peer::FinishImportRequest) {
        let finishing = self.peers.nodes().into_iter().map(async |node| {
            let (request, site) = (request.clone(), request.site);
            let call = |mut client: QueriesClient<Channel>| -> Answer<peer::FinishImportReply> {
                Box::pin(async move { client.finish_import(request).await })
            };
            if let Err(status) = self.ask_node(node, call).await {
                let message = status.message();
                tracing::warn!(%node, site, message, "an import is not finished there");
            }
        });
        join_all(finishing).await;
    }

    async fn ask_node<T>(
        &self,
        node: NodeId,
        call: impl FnOnce(QueriesClient<Channel>) -> Answer<T>,
    ) -> Result<T, Status> {
        let channel = self.peers.channel(node);
        let channel = channel.ok_or_else(|| Status::unavailable("there is no connection"))?;
        let client = QueriesClient::new(channel).max_decoding_message_size(ANSWER_BYTES_MAX);
        match timeout(ANSWER_WAIT_MAX, call(client)).await {
            Ok(answer) => answer.map(Response::into_inner),
            Err(_elapsed) => Err(Status::unavailable("it does not answer in time")),
        }
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

/// What another node would say too.
fn fault_of_caller(status: &Status) -> Option<ApiError> {
    let kind = match status.code() {
        Code::InvalidArgument => ErrorKind::InvalidRequest,
        Code::NotFound => ErrorKind::NotFound,
        _ => return None,
    };
    Some(ApiError::new(kind, status.message()))
}

fn nobody_answers(group: GroupId, refusals: &[String]) -> ApiError {
    let message = match refusals {
        [] => format!("no other node holds partition {group}"),
        refusals => format!(
            "no replica of partition {group} answers: {}",
            refusals.join("; ")
        ),
    };
    ApiError::new(ErrorKind::Unavailable, message)
}

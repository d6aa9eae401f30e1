//! The link over gRPC.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use futures::{FutureExt as _, future::BoxFuture};
use hashbrown::HashMap;
use parking_lot::Mutex;
use ringtail_proto::{
    GroupId, NodeId,
    wire::peer::{
        AskSpooledRequest, DropSpooledRequest, KeepSpooledRequest, events_client::EventsClient,
    },
};
use ringtail_raft::Channels;
use tokio::{runtime::Handle, time::timeout};
use tonic::{Status, transport::Channel};

use super::peer::Peer;
use crate::{
    Clock, FileFates, LeaderLink, LinkError, Proposed, RouteError, RouterOptions, SpoolLink,
};

/// The other nodes of the ring.
pub type PeerNodes = Arc<dyn Fn() -> Vec<NodeId> + Send + Sync>;

/// How long a node may take to answer about spooled files.
const ANSWER_MS_MAX: u64 = 5_000;

/// The link over gRPC: one stream of entries for each peer.
pub struct TonicLink {
    node: NodeId,
    options: RouterOptions,
    clock: Arc<dyn Clock>,
    channels: Channels,
    nodes: PeerNodes,
    runtime: Handle,
    peers: Mutex<HashMap<NodeId, Arc<Peer>>>,
}

impl TonicLink {
    /// The link of this node. Streams run on the calling runtime.
    #[must_use]
    pub fn new(
        node: NodeId,
        options: RouterOptions,
        clock: Arc<dyn Clock>,
        channels: Channels,
        nodes: PeerNodes,
    ) -> Self {
        Self {
            node,
            options,
            clock,
            channels,
            nodes,
            runtime: Handle::current(),
            peers: Mutex::default(),
        }
    }

    fn peer(&self, node: NodeId) -> Arc<Peer> {
        let mut peers = self.peers.lock();
        let peer = peers.entry(node).or_insert_with(|| {
            let (clock, runtime) = (Arc::clone(&self.clock), self.runtime.clone());
            Arc::new(Peer::new(node, self.options, clock, runtime))
        });
        Arc::clone(peer)
    }

    /// Asks a node within bounded time.
    fn call<T: Send + 'static>(
        &self,
        node: NodeId,
        call: impl FnOnce(EventsClient<Channel>) -> BoxFuture<'static, Result<T, Status>>,
    ) -> BoxFuture<'static, Result<T, LinkError>> {
        let error = move |message: String| LinkError {
            peer: node,
            message,
        };
        let Some(channel) = (self.channels)(node) else {
            return async move { Err(error("there is no connection".to_owned())) }.boxed();
        };
        let calling = call(EventsClient::new(channel));
        async move {
            match timeout(Duration::from_millis(ANSWER_MS_MAX), calling).await {
                Ok(Ok(answer)) => Ok(answer),
                Ok(Err(status)) => Err(error(status.to_string())),
                Err(_elapsed) => Err(error("it does not answer".to_owned())),
            }
        }
        .boxed()
    }
}

impl LeaderLink for TonicLink {
    fn forward(
        &self,
        leader: NodeId,
        group: GroupId,
        entry: Bytes,
    ) -> BoxFuture<'static, Result<Box<dyn Proposed>, RouteError>> {
        let channel = (self.channels)(leader);
        self.peer(leader).forward(channel, group, entry).boxed()
    }
}

impl SpoolLink for TonicLink {
    fn peers(&self) -> Vec<NodeId> {
        let mut nodes = (self.nodes)();
        nodes.retain(|node| *node != self.node);
        nodes
    }

    fn keep(
        &self,
        keeper: NodeId,
        file: u64,
        content: Bytes,
    ) -> BoxFuture<'static, Result<(), LinkError>> {
        let owner = self.node.0;
        self.call(keeper, move |mut client| {
            let request = KeepSpooledRequest {
                owner,
                file,
                content,
            };
            async move { client.keep_spooled(request).await.map(drop) }.boxed()
        })
    }

    fn drop_copies(
        &self,
        keeper: NodeId,
        files: Vec<u64>,
    ) -> BoxFuture<'static, Result<(), LinkError>> {
        let owner = self.node.0;
        self.call(keeper, move |mut client| {
            let request = DropSpooledRequest { owner, files };
            async move { client.drop_spooled(request).await.map(drop) }.boxed()
        })
    }

    fn ask(
        &self,
        owner: NodeId,
        files: Vec<u64>,
    ) -> BoxFuture<'static, Result<FileFates, LinkError>> {
        self.call(owner, move |mut client| {
            let request = AskSpooledRequest { files };
            async move {
                let reply = client.ask_spooled(request).await?.into_inner();
                Ok(FileFates {
                    done: reply.done,
                    lost: reply.lost,
                })
            }
            .boxed()
        })
    }
}

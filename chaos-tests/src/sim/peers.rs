//! What a simulated node knows of the others: `ringtail-peers` without its certificates, over the simulated network.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use futures::future::join_all;
use hyper_util::rt::TokioIo;
use parking_lot::{Mutex, RwLock};
use ringtail_metadata::{Metadata, reconcile::NodeHealth};
use ringtail_proto::{
    NodeId,
    wire::peer::{ReadIndexRequest, ring_client::RingClient},
};
use ringtail_raft::{Channels, RaftNode};
use tokio::time::{Instant, timeout};
use tonic::transport::{Channel, Endpoint, Uri};
use tower::service_fn;

use super::network::connect;

/// As between real nodes.
const CONNECT_WAIT_MAX: Duration = Duration::from_secs(2);
const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(2);
const KEEP_ALIVE_WAIT_MAX: Duration = Duration::from_secs(4);
const CALL_INTERVAL: Duration = Duration::from_secs(1);

/// The connections of one node. Clones are the same.
#[derive(Clone, Default)]
pub(crate) struct SimPeers {
    own: NodeId,
    peers: Arc<RwLock<BTreeMap<NodeId, Peer>>>,
}

struct Peer {
    address: Arc<Mutex<String>>,
    reached: Arc<Mutex<Option<Instant>>>,
    channel: Channel,
}

impl SimPeers {
    /// Nobody is known yet.
    pub(crate) fn new(own: NodeId) -> Self {
        Self {
            own,
            peers: Arc::default(),
        }
    }

    /// Takes the addresses of all nodes; one that is not named is known no more.
    pub(crate) fn set_addresses(&self, addresses: &BTreeMap<NodeId, String>) {
        let mut peers = self.peers.write();
        peers.retain(|node, _| addresses.contains_key(node));
        for (node, address) in addresses.iter().filter(|(node, _)| **node != self.own) {
            match peers.get(node) {
                Some(peer) => peer.address.lock().clone_from(address),
                None => {
                    peers.insert(*node, Peer::new(address.clone()));
                }
            }
        }
    }

    /// The connection to a node that is known; it connects when it is used.
    pub(crate) fn channel(&self, node: NodeId) -> Option<Channel> {
        let peers = self.peers.read();
        peers.get(&node).map(|peer| peer.channel.clone())
    }

    /// The same as a closure.
    pub(crate) fn channels(&self) -> Channels {
        let peers = self.clone();
        Arc::new(move |node| peers.channel(node))
    }

    /// The nodes that are known.
    pub(crate) fn nodes(&self) -> BTreeSet<NodeId> {
        self.peers.read().keys().copied().collect()
    }

    fn reached_for(&self, node: NodeId) -> Option<Duration> {
        let peers = self.peers.read();
        let since = *peers.get(&node)?.reached.lock();
        since.map(|since| since.elapsed())
    }
}

impl Peer {
    fn new(address: String) -> Self {
        let address = Arc::new(Mutex::new(address));
        let reached = Arc::new(Mutex::new(None));
        let (target, note) = (Arc::clone(&address), Arc::clone(&reached));
        let connector = service_fn(move |_: Uri| {
            let (target, note) = (target.lock().clone(), Arc::clone(&note));
            async move {
                let connected = timeout(CONNECT_WAIT_MAX, connect(&target)).await;
                let connected =
                    connected.unwrap_or_else(|_elapsed| Err(std::io::ErrorKind::TimedOut.into()));
                *note.lock() = connected.is_ok().then(Instant::now);
                connected.map(TokioIo::new)
            }
        });
        let channel = Endpoint::from_static("http://node.ringtail")
            .http2_keep_alive_interval(KEEP_ALIVE_INTERVAL)
            .keep_alive_timeout(KEEP_ALIVE_WAIT_MAX)
            .keep_alive_while_idle(true)
            .connect_with_connector_lazy(connector);
        Self {
            address,
            reached,
            channel,
        }
    }
}

impl NodeHealth for SimPeers {
    fn up_for(&self, node: NodeId) -> Option<Duration> {
        match node == self.own {
            true => Some(Duration::MAX),
            false => self.reached_for(node),
        }
    }
}

/// Keeps the connections where the metadata says that the nodes are, and calls nodes that are not connected to.
pub(crate) async fn follow_addresses(metadata: Metadata, peers: SimPeers, raft: Arc<RaftNode>) {
    let directory = metadata.directory();
    let mut changes = metadata.changes();
    loop {
        changes.mark_unchanged();
        let known = directory.peer_addresses();
        peers.set_addresses(&known);
        raft.forget_nodes(|node| !known.contains_key(&node));
        let silent = peers.nodes().into_iter();
        let silent = silent.filter(|node| peers.reached_for(*node).is_none());
        let calls = join_all(silent.map(|node| call(&peers, node)));
        // One that takes longer is called again.
        let _ = timeout(CALL_INTERVAL, calls).await;
        // Whichever comes first. A closed channel means that the node stops.
        let _ = timeout(CALL_INTERVAL, changes.changed()).await;
    }
}

async fn call(peers: &SimPeers, node: NodeId) {
    if let Some(channel) = peers.channel(node) {
        // Only the connection counts, not what is answered.
        drop(
            RingClient::new(channel)
                .read_index(ReadIndexRequest {})
                .await,
        );
    }
}

//! A node of the ring, composed as the server composes it, of the same parts: only network, disk, clock and threads are
//! simulated.

mod duties;
mod groups;
mod log;
mod membership;
mod serving;
mod settings;

use std::sync::Arc;

use ringtail_checkpoint::CheckpointStore;
use ringtail_hosting::Hosting;
use ringtail_metadata::{Actor, METADATA_GROUP, Metadata, MetadataMachine, RingLink};
use ringtail_proto::NodeId;
use ringtail_raft::RaftNode;
use tokio::task::{JoinHandle, spawn_local};

use super::{
    bugs::Machine,
    host::Host,
    peers::SimPeers,
    ring::{Ring, Running},
};
use groups::{open_partitions, start_router};
use membership::{describe, description, found, identify, learn};

/// The partitions of a running node.
pub(crate) type Partitions = ringtail_partition::Partitions<Machine>;

/// Groups of events; the simulator looks at few of them, closely.
pub(crate) const GROUPS: u32 = 2;
/// The node that makes the ring.
const FOUNDER: NodeId = NodeId(1);

/// Runs a node on its host until it fails or the host crashes. A start that does not succeed is tried again by whoever
/// looks after the process; an error here is one that no restart heals.
pub(crate) async fn run(ring: Arc<Ring>, host: Arc<Host>) -> turmoil::Result {
    let number = host.number;
    let failure = match open(&ring, &host).await {
        Ok(node) => {
            ring.note(format!("node {number} runs"));
            node.failed().await
        }
        Err(error) => format!("it cannot start: {error:#}"),
    };
    ring.stopped(number, &failure);
    Ok(())
}

/// All that ends with the process.
struct Node {
    running: Arc<Running>,
    tasks: Vec<JoinHandle<()>>,
}

impl Node {
    async fn failed(&self) -> String {
        tokio::select! {
            biased;
            error = self.running.raft.log().failed() => error.to_string(),
            failure = self.running.partitions.failed() => failure,
        }
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

async fn open(ring: &Arc<Ring>, host: &Arc<Host>) -> anyhow::Result<Node> {
    let identity = identify(ring, host).await?;
    let node = identity.node;
    let actor = Actor::new(format!("node {node}"));
    let peers = SimPeers::new(node);
    peers.set_addresses(&identity.peers);
    let (raft, writing) = log::start_raft(ring, host, node, &peers)?;
    let store: Arc<dyn CheckpointStore> = Arc::new(host.store.clone());
    let metadata = open_metadata(host, &raft, &store, &peers).await?;
    let description = description(host);
    if node == FOUNDER {
        found(&raft, &metadata, &description, &actor).await?;
    }
    learn(&raft, &metadata).await?;
    let partitions = open_partitions(ring, host, node, &raft, &store, &metadata).await?;
    let bug = ring.bug;
    let hosting = Arc::new(Hosting {
        node,
        metadata: metadata.clone(),
        raft: Arc::clone(&raft),
        partitions: Arc::clone(&partitions),
        log_of: Arc::new(move |log| bug.replicated_log(log)),
    });
    let (router, mut tasks) = start_router(ring, host, &hosting, &peers).await?;
    tasks.push(writing);
    tasks.push(serving::serve(serving::routes(ring, &raft, &metadata, &router)).await?);
    tasks.extend(duties::start(host, &hosting, &router, &peers, &actor));
    let describing = describe(metadata.clone(), node, description, actor);
    tasks.push(tokio::spawn(describing));
    let running = Arc::new(Running {
        node,
        raft,
        metadata,
        partitions,
        router,
    });
    tasks.push(spawn_local(ring.front(host.number, &running)));
    Ok(Node { running, tasks })
}

async fn open_metadata(
    host: &Host,
    raft: &RaftNode,
    store: &Arc<dyn CheckpointStore>,
    peers: &SimPeers,
) -> anyhow::Result<Metadata> {
    let machine = Arc::new(MetadataMachine::open(Arc::clone(store))?);
    let group = raft.open_group(METADATA_GROUP, machine.clone()).await?;
    let link = Arc::new(RingLink::new(peers.channels()));
    Ok(Metadata::new(group, machine, Arc::new(host.clock.clone())).with_link(link))
}

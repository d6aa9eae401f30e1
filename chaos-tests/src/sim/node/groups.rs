//! The partitions of a simulated node, and its way to those that are elsewhere.

use std::sync::Arc;

use ringtail_checkpoint::CheckpointStore;
use ringtail_hosting::Hosting;
use ringtail_metadata::Metadata;
use ringtail_partition::{LocalSpawner, PartitionOptions, SharedLog};
use ringtail_proto::NodeId;
use ringtail_raft::RaftNode;
use ringtail_router::{
    PeerNodes, Router, RouterOptions, RouterSeams, Spawning, SpoolPlace, TonicLink,
};
use tokio::task::JoinHandle;

use super::{FOUNDER, Partitions};
use crate::sim::{bugs::Machine, host::Host, peers::SimPeers, ring::Ring};

pub(super) async fn open_partitions(
    ring: &Ring,
    host: &Arc<Host>,
    node: NodeId,
    raft: &Arc<RaftNode>,
    store: &Arc<dyn CheckpointStore>,
    metadata: &Metadata,
) -> anyhow::Result<Arc<Partitions>> {
    // Everything that takes minutes in a real ring takes seconds here, so that a short run sees all of it.
    let options = PartitionOptions {
        site_idle_ms_max: 4_000,
        dirty_age_ms_max: 3_000,
        late_age_ms_max: 2_000,
        round_interval_ms: 1_000,
        floor_age_ms_max: 2_000,
        ..PartitionOptions::default()
    };
    let seams = ringtail_partition::Seams {
        store: ring.bug.store(Arc::clone(store)),
        log: Arc::new(SharedLog(Arc::clone(raft.log()))),
        clock: Arc::new(host.clock.clone()),
        spawner: LocalSpawner::new(),
        node_log_bytes: Arc::default(),
    };
    let directory = metadata.directory();
    let hosted = directory.hosted_by(node);
    let slots = (*directory.slots()).clone();
    let partitions =
        Partitions::open(raft, slots, hosted, Machine::new(ring.bug), seams, options).await?;
    if node == FOUNDER {
        let mine = directory.never_moved(node, &partitions.hosted());
        partitions.initialize_single(mine).await?;
    }
    Ok(partitions)
}

pub(super) async fn start_router(
    ring: &Ring,
    host: &Arc<Host>,
    hosting: &Hosting<Machine>,
    peers: &SimPeers,
) -> anyhow::Result<(Router, Vec<JoinHandle<()>>)> {
    let node = hosting.node;
    let slots = hosting.metadata.directory().slots();
    let (routes, followers) = hosting.routes();
    let options = RouterOptions {
        spool_adopt_seconds_min: 3,
        ..RouterOptions::default()
    };
    let others: PeerNodes = {
        let peers = peers.clone();
        Arc::new(move || peers.nodes().into_iter().collect())
    };
    let clock = Arc::new(host.clock.clone());
    let link = Arc::new(TonicLink::new(
        node,
        options,
        clock.clone(),
        peers.channels(),
        others,
    ));
    let seams = RouterSeams {
        node,
        clock,
        leaders: link.clone(),
        copies: link,
        spool: SpoolPlace {
            disk: ring.bug.spool_disk(host.disk()),
            directory: "/spool".into(),
        },
        spawning: Spawning::CurrentThread,
    };
    let router = Router::start(options, (*slots).clone(), routes, seams).await?;
    Ok((router, followers))
}

//! A node of the ring, composed as the server composes it, of the same parts: only network, disk, clock and threads are
//! simulated.

mod hosting;
mod settings;

use std::{path::Path, sync::Arc, time::Duration};

use anyhow::Context as _;
use async_trait::async_trait;
use ringtail_checkpoint::CheckpointStore;
use ringtail_log::{LogDriver, LogOptions, SegmentLog};
use ringtail_metadata::{
    Actor, ClusterId, Command, Description, JoinAttempt, Limits, METADATA_GROUP, Metadata,
    MetadataMachine, NewNode, NodeAddresses, RingLink,
    reconcile::{
        GroupControl, Keeper, KeeperOptions, OpenGroups, Reconciler, ReconcilerOptions, StepOptions,
    },
};
use ringtail_partition::{LocalSpawner, LogSource, PartitionOptions};
use ringtail_proto::{GroupId, LogIndex, NodeId, wire::peer::ring_server::RingServer};
use ringtail_raft::{
    Committed, MachineError, Peering, RaftNode, RaftOptions, Staging, read_entries,
};
use ringtail_router::{
    EventsService, GroupRoute, PeerNodes, Router, RouterOptions, RouterSeams, Spawning, SpoolPlace,
    TonicLink,
};
use tokio::{
    task::JoinHandle,
    time::{MissedTickBehavior, sleep},
};
use tonic::{Status, service::Routes, transport::Server};

use super::{
    bugs::{Bug, Machine},
    clock::elapsed,
    host::{Host, Identity},
    network::{From, listen},
    peers::{SimPeers, addresses, follow_addresses},
    ring::{Ring, Running},
    ring_service::RingService,
};
use hosting::{Hosting, RouteLeadership, hosted_by, log_of};

/// The partitions of a running node.
pub(crate) type Partitions = ringtail_partition::Partitions<Machine>;

/// Groups of events; the simulator looks at few of them, closely.
pub(crate) const GROUPS: u32 = 2;
/// The node that makes the ring.
const FOUNDER: NodeId = NodeId(1);
const JOIN_RETRY_INTERVAL: Duration = Duration::from_millis(500);
const METADATA_FLOOR_INTERVAL: Duration = Duration::from_secs(5);
const DESCRIPTION_INTERVAL: Duration = Duration::from_secs(1);
/// How often the writer of a full disk looks whether there is space.
const SPACE_RETRY_INTERVAL: Duration = Duration::from_millis(250);
const SEGMENT_BYTES_MAX: u64 = 32 << 10;
const FEATURE_LEVEL: u32 = 1;
const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(2);
const KEEP_ALIVE_WAIT_MAX: Duration = Duration::from_secs(4);

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
    let peers = SimPeers::new(node);
    peers.set_addresses(&identity.peers);
    let (raft, mut tasks) = start_raft(ring, host, node, &peers)?;
    let store: Arc<dyn CheckpointStore> = Arc::new(host.store.clone());
    let actor = Actor::new(format!("node {node}"));
    let machine = Arc::new(MetadataMachine::open(Arc::clone(&store))?);
    let group = raft.open_group(METADATA_GROUP, machine.clone()).await?;
    let link = Arc::new(RingLink::new(peers.channels()));
    let metadata = Metadata::new(group, machine, Arc::new(host.clock.clone())).with_link(link);
    let description = description(host);
    if node == FOUNDER {
        found(&raft, &metadata, &description, &actor).await?;
    }
    learn(&raft, &metadata).await?;
    let partitions = open_partitions(ring, host, node, &raft, &store, &metadata).await?;
    let (router, followers) =
        start_router(ring, host, node, &raft, &partitions, &metadata, &peers).await?;
    tasks.extend(followers);
    let callers = Arc::clone(ring);
    let events = EventsService::server(
        router.clone(),
        Arc::new(move |request| {
            let from = request.extensions().get::<From>();
            from.and_then(|from| callers.node_at(from.0))
                .ok_or_else(|| Status::unauthenticated("nobody's address"))
        }),
    );
    let routes = Routes::new(raft.service())
        .add_service(RingServer::new(RingService(metadata.clone())))
        .add_service(events);
    tasks.push(serve(routes).await?);
    tasks.extend(duties(
        ring.bug,
        host,
        node,
        &raft,
        &metadata,
        &partitions,
        &router,
        &peers,
        &actor,
    ));
    tasks.push(describe(metadata.clone(), node, description, actor));
    let running = Arc::new(Running {
        node,
        raft,
        metadata,
        partitions,
        router,
    });
    tasks.push(tokio::task::spawn_local(ring.front(host.number, &running)));
    Ok(Node { running, tasks })
}

/// Who this node is; one that is nobody yet joins the ring by a token that somebody else makes for it.
async fn identify(ring: &Arc<Ring>, host: &Arc<Host>) -> anyhow::Result<Identity> {
    if let Some(identity) = host.identity() {
        return Ok(identity);
    }
    if host.number == FOUNDER.0 {
        let identity = Identity {
            node: FOUNDER,
            peers: Default::default(),
        };
        host.claim(identity.clone());
        return Ok(identity);
    }
    let by = Actor::new("an operator");
    loop {
        if let Some(other) = ring.anybody() {
            let joined = async {
                let (_, secret) = other
                    .metadata
                    .create_join_token("", 60_000, &by, "")
                    .await?;
                let joiner = NewNode {
                    secret,
                    attempt: JoinAttempt([host.number as u8; 16]),
                    description: description(host),
                };
                other.metadata.join(joiner, &by).await
            };
            if let Ok(joined) = joined.await {
                let identity = Identity {
                    node: joined.id,
                    peers: addresses(&other.metadata.directory()),
                };
                host.claim(identity.clone());
                ring.joined(host.number, joined.id);
                return Ok(identity);
            }
        }
        sleep(JOIN_RETRY_INTERVAL).await;
    }
}

fn start_raft(
    ring: &Ring,
    host: &Arc<Host>,
    node: NodeId,
    peers: &SimPeers,
) -> anyhow::Result<(Arc<RaftNode>, Vec<JoinHandle<()>>)> {
    let disk = Arc::new(host.disk());
    let options = LogOptions {
        segment_bytes_max: SEGMENT_BYTES_MAX,
        ..LogOptions::default()
    };
    let (log, driver, report) =
        SegmentLog::open_driven(disk.clone(), Path::new("/log"), options).context("the log")?;
    if report.torn_tail.is_some() {
        ring.note(format!("node {node} cuts a torn tail"));
    }
    let writing = tokio::spawn(drive(driver, Arc::clone(host)));
    let peering = Peering {
        channels: peers.channels(),
        staging: Some(Staging::open(disk, Path::new("/snapshots"))?),
    };
    let raft = RaftNode::start(ring.bug.raft_options(RaftOptions::new(node)), log, peering)?;
    Ok((Arc::new(raft), vec![writing]))
}

/// The disk takes its time for each write and sync; a full one takes none.
async fn drive(driver: LogDriver, host: Arc<Host>) {
    let mut driver = driver;
    loop {
        driver.waiting().await;
        let sync_us = host.sync_us.load(std::sync::atomic::Ordering::Relaxed);
        sleep(Duration::from_micros(sync_us)).await;
        while host.is_full() {
            driver.set_full(true);
            sleep(SPACE_RETRY_INTERVAL).await;
        }
        driver.set_full(false);
        match driver.step() {
            Some(next) => driver = next,
            None => return,
        }
    }
}

fn description(host: &Host) -> Description {
    Description {
        addresses: NodeAddresses {
            peer: format!("{}:7000", host.name()),
            ..NodeAddresses::default()
        },
        zone: String::new(),
        feature_level: FEATURE_LEVEL,
    }
}

/// Makes the ring at the first start of its first node.
async fn found(
    raft: &RaftNode,
    metadata: &Metadata,
    description: &Description,
    actor: &Actor,
) -> anyhow::Result<()> {
    let directory = metadata.directory();
    if directory.cluster().is_some() && directory.node(FOUNDER).is_some() {
        return Ok(());
    }
    let group = raft.group(METADATA_GROUP).context("it is open")?;
    group.initialize_single().await?;
    group.ready().await?;
    if directory.cluster().is_none() {
        let init = Command::InitCluster {
            cluster: ClusterId(1),
            groups: GROUPS,
            limits: Limits::default(),
        };
        metadata.execute(init, actor, "first start").await?;
    }
    let register = Command::RegisterNode {
        node: FOUNDER,
        addresses: description.addresses.clone(),
    };
    metadata.execute(register, actor, "first start").await?;
    Ok(())
}

/// Waits until the ring has told a node that joined it what the ring is.
async fn learn(raft: &RaftNode, metadata: &Metadata) -> anyhow::Result<()> {
    let directory = metadata.directory();
    let mut changes = metadata.changes();
    if directory.cluster().is_some() {
        return Ok(());
    }
    let server = serve(Routes::new(raft.service())).await?;
    while directory.cluster().is_none() {
        changes.changed().await?;
    }
    server.abort();
    // Its socket is free again once the task is gone.
    drop(server.await);
    Ok(())
}

async fn serve(routes: Routes) -> anyhow::Result<JoinHandle<()>> {
    let incoming = listen().await?;
    let server = Server::builder()
        .http2_keepalive_interval(Some(KEEP_ALIVE_INTERVAL))
        .http2_keepalive_timeout(Some(KEEP_ALIVE_WAIT_MAX))
        .add_routes(routes);
    Ok(tokio::task::spawn_local(async move {
        drop(server.serve_with_incoming(Box::pin(incoming)).await);
    }))
}

async fn open_partitions(
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
    let hosted = hosted_by(metadata, node);
    let slots = (*metadata.directory().slots()).clone();
    let partitions =
        Partitions::open(raft, slots, hosted, Machine::new(ring.bug), seams, options).await?;
    if node == FOUNDER {
        let mine = hosting::never_moved(metadata, node, &partitions.hosted());
        partitions.initialize_single(mine).await?;
    }
    Ok(partitions)
}

async fn start_router(
    ring: &Ring,
    host: &Arc<Host>,
    node: NodeId,
    raft: &Arc<RaftNode>,
    partitions: &Arc<Partitions>,
    metadata: &Metadata,
    peers: &SimPeers,
) -> anyhow::Result<(Router, Vec<JoinHandle<()>>)> {
    let slots = metadata.directory().slots();
    let (mut routes, mut followers) = (Vec::new(), Vec::new());
    for group in slots.partitions().into_keys() {
        let (leadership, follower) =
            RouteLeadership::start(node, group, Arc::clone(raft), metadata.clone());
        followers.push(follower);
        let local = raft.group(group);
        routes.push(GroupRoute {
            group,
            leadership: Arc::new(leadership),
            log: local.map(|group| log_of(ring.bug, group, partitions)),
        });
    }
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

#[allow(clippy::too_many_arguments, reason = "the parts of a node")]
fn duties(
    bug: Bug,
    host: &Arc<Host>,
    node: NodeId,
    raft: &Arc<RaftNode>,
    metadata: &Metadata,
    partitions: &Arc<Partitions>,
    router: &Router,
    peers: &SimPeers,
    actor: &Actor,
) -> Vec<JoinHandle<()>> {
    let health = Arc::new(peers.clone());
    let open = Arc::clone(raft);
    let groups: OpenGroups = Arc::new(move || {
        let groups = open.groups().into_iter();
        groups
            .map(|group| Arc::new(group) as Arc<dyn GroupControl>)
            .collect()
    });
    let keeper = KeeperOptions {
        step: StepOptions {
            transfer_pause: Duration::from_secs(1),
            preferred_pause: Duration::from_secs(3),
            ..StepOptions::default()
        },
        ..KeeperOptions::default()
    };
    let keeper = Keeper::new(
        node,
        metadata.clone(),
        groups,
        health.clone(),
        keeper,
        actor.clone(),
    );
    let reconciler = ReconcilerOptions {
        interval: Duration::from_secs(1),
        ..ReconcilerOptions::default()
    };
    let reconciler = Reconciler::new(metadata.clone(), health, reconciler, actor.clone());
    let hosting = Hosting {
        node,
        metadata: metadata.clone(),
        raft: Arc::clone(raft),
        partitions: Arc::clone(partitions),
        router: router.clone(),
        bug,
    };
    vec![
        tokio::spawn(follow_addresses(
            metadata.clone(),
            peers.clone(),
            Arc::clone(raft),
        )),
        tokio::spawn(hosting.run()),
        tokio::spawn(keeper.run()),
        tokio::spawn(reconciler.run()),
        tokio::spawn(settings::push(
            metadata.clone(),
            router.clone(),
            actor.clone(),
        )),
        tokio::spawn(raise_metadata_floor(
            metadata.clone(),
            Arc::new(host.store.clone()),
        )),
    ]
}

async fn raise_metadata_floor(metadata: Metadata, store: Arc<dyn CheckpointStore>) {
    let mut ticks = tokio::time::interval(METADATA_FLOOR_INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        if let Err(error) = metadata.raise_floor(Arc::clone(&store)).await {
            tracing::debug!(%error, "the floor of the metadata stays");
        }
    }
}

/// Tells the ring where this node is, as soon as the ring can be told.
fn describe(metadata: Metadata, node: NodeId, mine: Description, actor: Actor) -> JoinHandle<()> {
    tokio::spawn(async move {
        loop {
            let known = metadata.directory().node(node);
            let is_right = known.is_some_and(|known| {
                known.addresses == mine.addresses && known.feature_level == mine.feature_level
            });
            if !is_right && let Err(error) = metadata.describe(node, mine.clone(), &actor).await {
                tracing::debug!(%error, "the ring is not told yet");
            }
            sleep(DESCRIPTION_INTERVAL).await;
        }
    })
}

/// The log as the partitions read it.
struct SharedLog(Arc<SegmentLog>);

#[async_trait]
impl LogSource for SharedLog {
    async fn read(
        &self,
        group: GroupId,
        from: LogIndex,
        to: LogIndex,
        bytes_max: u64,
    ) -> Result<Vec<Committed>, MachineError> {
        let entries = read_entries(&self.0, group, from, to, bytes_max)
            .await
            .map_err(MachineError::new)?;
        match entries.first().map(|entry| entry.position.index) == Some(from) {
            true => Ok(entries),
            false => Err(MachineError::new(format!(
                "entry {from} of group {group} is purged at {:?}",
                elapsed()
            ))),
        }
    }
}

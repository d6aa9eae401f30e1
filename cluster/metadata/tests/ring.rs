//! Nodes that join a ring by token, over real groups and real connections: reconciler and keepers at work.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test may fail by panic"
)]

#[path = "support/peer_service.rs"]
mod peer_service;

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU8, Ordering},
    },
    time::Duration,
};

use parking_lot::Mutex;
use ringtail_checkpoint::{CheckpointStore, MemoryStore};
use ringtail_log::{FaultDisk, LogOptions, SegmentLog};
use ringtail_metadata::{
    Actor, Channels, ClusterId, Command, Description, Directory, JoinAttempt, Limits,
    METADATA_GROUP, Metadata, MetadataError, MetadataMachine, NewNode, NodeAddresses, NodeState,
    RingLink, Seams,
    reconcile::{
        GroupControl, Keeper, KeeperOptions, NodeHealth, OpenGroups, Reconciler, ReconcilerOptions,
        StepOptions, drain_progress,
    },
};
use ringtail_proto::{GroupId, NodeId, UnixMillis};
use ringtail_raft::{Peering, RaftNode, RaftOptions, Staging};
use tokio::{net::TcpListener, task::JoinHandle, time::timeout};
use tokio_stream::wrappers::TcpListenerStream;
use tonic::transport::{Channel, Endpoint, Server};

use peer_service::ring_server;

/// Nothing here takes longer, or something is wrong.
const PATIENCE: Duration = Duration::from_secs(60);

/// A partition; any machine will do.
const PARTITION: GroupId = GroupId(1);

type Connections = Arc<Mutex<BTreeMap<NodeId, Channel>>>;

struct FixedSeams(AtomicU8);

impl Seams for FixedSeams {
    fn now(&self) -> UnixMillis {
        UnixMillis(1_000)
    }

    fn random(&self) -> [u8; 32] {
        [self.0.fetch_add(1, Ordering::Relaxed); 32]
    }
}

/// Whoever has a connection is well, and has been for long.
struct Connected(Connections);

impl NodeHealth for Connected {
    fn up_for(&self, node: NodeId) -> Option<Duration> {
        let is_up = self.0.lock().contains_key(&node);
        is_up.then_some(Duration::from_secs(60))
    }
}

struct Node {
    raft: Arc<RaftNode>,
    metadata: Metadata,
    store: Arc<dyn CheckpointStore>,
    tasks: Vec<JoinHandle<()>>,
}

impl Node {
    async fn start(id: u64, connections: &Connections) -> Self {
        let disk = FaultDisk::new();
        let known = Arc::clone(connections);
        let channels: Channels = Arc::new(move |node| known.lock().get(&node).cloned());
        let staging = Staging::open(Arc::new(disk.clone()), Path::new("/snapshots")).unwrap();
        let peering = Peering {
            channels: Arc::clone(&channels),
            staging: Some(staging),
        };
        let options = LogOptions::default();
        let (log, _) = SegmentLog::open(Arc::new(disk), Path::new("/log"), options).unwrap();
        let raft = RaftNode::start(RaftOptions::new(NodeId(id)), log, peering).unwrap();
        let raft = Arc::new(raft);
        let store: Arc<dyn CheckpointStore> = Arc::new(MemoryStore::new());
        let machine = Arc::new(MetadataMachine::open(Arc::clone(&store)).unwrap());
        let group = raft
            .open_group(METADATA_GROUP, machine.clone())
            .await
            .unwrap();
        if id == 1 {
            group.initialize_single().await.unwrap();
            group.ready().await.unwrap();
        }
        let seams = Arc::new(FixedSeams(AtomicU8::new(1)));
        let metadata =
            Metadata::new(group, machine, seams).with_link(Arc::new(RingLink::new(channels)));

        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let server = Server::builder()
            .add_service(raft.service())
            .add_service(ring_server(metadata.clone()));
        let serving = async move {
            let incoming = TcpListenerStream::new(listener);
            server.serve_with_incoming(incoming).await.unwrap();
        };
        let channel = Endpoint::from_shared(format!("http://{address}")).unwrap();
        connections
            .lock()
            .insert(NodeId(id), channel.connect_lazy());

        let health = Arc::new(Connected(Arc::clone(connections)));
        let actor = Actor::new(format!("node {id}"));
        let short = Duration::from_millis(100);
        let reconciler = ReconcilerOptions {
            calm: short,
            ..ReconcilerOptions::default()
        };
        let reconciler =
            Reconciler::new(metadata.clone(), health.clone(), reconciler, actor.clone());
        let keeper = KeeperOptions {
            step: StepOptions {
                transfer_pause: Duration::from_secs(1),
                preferred_pause: Duration::from_secs(2),
                ..StepOptions::default()
            },
            interval: short,
            rest: short,
            ..KeeperOptions::default()
        };
        let open = Arc::clone(&raft);
        let groups: OpenGroups = Arc::new(move || {
            let groups = open.groups().into_iter();
            groups
                .map(|group| Arc::new(group) as Arc<dyn GroupControl>)
                .collect()
        });
        let keeper = Keeper::new(NodeId(id), metadata.clone(), groups, health, keeper, actor);
        let tasks = vec![
            tokio::spawn(serving),
            tokio::spawn(reconciler.run()),
            tokio::spawn(keeper.run()),
            tokio::spawn(host(Arc::clone(&raft), metadata.clone(), NodeId(id))),
        ];
        Self {
            raft,
            metadata,
            store,
            tasks,
        }
    }

    /// Waits until this node's directory says so.
    async fn sees(&self, what: &str, is_so: impl Fn(&Directory) -> bool) {
        let mut changes = self.metadata.changes();
        let directory = self.metadata.directory();
        let seen = changes.wait_for(|_| is_so(&directory));
        if timeout(PATIENCE, seen).await.is_err() {
            panic!(
                "{what}: {:#?} {:#?}",
                directory.nodes(),
                directory.placement()
            );
        }
    }

    async fn stop(self) {
        self.tasks.iter().for_each(JoinHandle::abort);
        self.raft.shutdown().await.unwrap();
    }
}

/// Opens the partition once the node is to host it, as a server does.
async fn host(raft: Arc<RaftNode>, metadata: Metadata, me: NodeId) {
    let mut changes = metadata.changes();
    let directory = metadata.directory();
    let is_host = || {
        let placement = directory.placement();
        placement
            .get(&PARTITION)
            .is_some_and(|place| place.hosts.contains(&me))
    };
    changes.wait_for(|_| is_host()).await.unwrap();
    let machine = MetadataMachine::open(Arc::new(MemoryStore::new())).unwrap();
    let group = raft.open_group(PARTITION, Arc::new(machine)).await.unwrap();
    if me == NodeId(1) {
        group.initialize_single().await.unwrap();
    }
}

fn admin() -> Actor {
    Actor::new("an administrator")
}

fn describe(node: u64) -> Description {
    Description {
        addresses: NodeAddresses {
            peer: format!("10.0.0.{node}:7000"),
            ..NodeAddresses::default()
        },
        zone: String::new(),
        feature_level: 1,
    }
}

async fn first_start(node: &Node) {
    let init = Command::InitCluster {
        cluster: ClusterId(1),
        groups: 1,
        limits: Limits::default(),
    };
    let register = Command::RegisterNode {
        node: NodeId(1),
        addresses: NodeAddresses::default(),
    };
    for command in [init, register] {
        node.metadata.execute(command, &admin(), "").await.unwrap();
    }
    let described = node
        .metadata
        .describe(NodeId(1), describe(1), &admin())
        .await;
    described.unwrap();
}

/// A token is made at one node and spent at another; then the new node starts.
async fn join(makes: &Node, admits: &Node, id: u64, connections: &Connections) -> Node {
    let made = makes
        .metadata
        .create_join_token("", 60_000, &admin(), "")
        .await;
    let (_, secret) = made.unwrap();
    let joiner = NewNode {
        secret: secret.clone(),
        attempt: JoinAttempt([id as u8; 16]),
        description: describe(id),
    };
    let admitted = admits.metadata.join(joiner.clone(), &admin()).await;
    assert_eq!(admitted.unwrap().id, NodeId(id));
    let node = Node::start(id, connections).await;
    // Somebody who copied token and attempt comes too late.
    let active = |directory: &Directory| {
        directory
            .node(NodeId(id))
            .is_some_and(|node| node.is_active())
    };
    makes.sees("the node is active", active).await;
    let replayed = admits.metadata.join(joiner, &admin()).await;
    assert!(
        matches!(replayed, Err(MetadataError::JoinTokenUsed { .. })),
        "{replayed:?}"
    );
    node
}

fn is_settled_at(group: GroupId, nodes: &[u64]) -> impl Fn(&Directory) -> bool {
    let expect: BTreeSet<NodeId> = nodes.iter().copied().map(NodeId).collect();
    move |directory| {
        let placement = directory.placement();
        placement.get(&group).is_some_and(|place| {
            place.is_settled(group)
                && place.voters.iter().copied().collect::<BTreeSet<_>>() == expect
        })
    }
}

/// One node with some sites, and two that join it; everything has three replicas.
async fn three_nodes(connections: &Connections) -> [Node; 3] {
    let first = Node::start(1, connections).await;
    first_start(&first).await;
    for number in 0..50 {
        let name = format!("s{number}.example");
        let added = first.metadata.add_site(&name, "UTC", &admin(), "").await;
        added.unwrap();
    }
    // The log begins after all that: the others get the rows.
    let store = Arc::clone(&first.store);
    first.metadata.raise_floor(store).await.unwrap();

    let second = join(&first, &first, 2, connections).await;
    let has_all = |directory: &Directory| directory.site_count() == 50;
    second.sees("all sites", has_all).await;
    let third = join(&second, &first, 3, connections).await;
    let nodes = [first, second, third];
    for node in &nodes {
        for group in [METADATA_GROUP, PARTITION] {
            let settled = is_settled_at(group, &[1, 2, 3]);
            node.sees("three replicas", settled).await;
        }
    }
    nodes
}

const fn set_state(node: u64, state: NodeState, is_forced: bool) -> Command {
    Command::SetNodeState {
        node: NodeId(node),
        state,
        is_forced,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_node_grows_to_three_and_gives_way_to_the_others() {
    let connections = Connections::default();
    let nodes = three_nodes(&connections).await;
    // Any node changes the metadata, and shows it.
    for (number, node) in (50..).zip(&nodes) {
        let name = format!("s{number}.example");
        let site = node.metadata.add_site(&name, "UTC", &admin(), "").await;
        let site = site.unwrap();
        assert_eq!(node.metadata.directory().site(site.id).unwrap(), site);
        for other in &nodes {
            other.metadata.read_barrier().await.unwrap();
            assert!(other.metadata.directory().site(site.id).is_some());
        }
    }

    let [first, second, third] = nodes;
    let drain = set_state(1, NodeState::Draining, false);
    third.metadata.execute(drain, &admin(), "").await.unwrap();
    let is_drained = |directory: &Directory| {
        drain_progress(NodeId(1), &directory.placement(), &BTreeMap::new()).is_done()
    };
    third.sees("node 1 is empty", is_drained).await;
    let leave = set_state(1, NodeState::Left, false);
    third.metadata.execute(leave, &admin(), "").await.unwrap();
    connections.lock().remove(&NodeId(1));
    first.stop().await;
    let added = second
        .metadata
        .add_site("last.example", "UTC", &admin(), "")
        .await;
    let site = added.unwrap();
    third.metadata.read_barrier().await.unwrap();
    assert!(third.metadata.directory().site(site.id).is_some());
    second.stop().await;
    third.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_others_go_on_without_a_dead_leader_and_may_forget_it() {
    let connections = Connections::default();
    let [first, second, third] = three_nodes(&connections).await;
    assert!(first.metadata.is_leader());
    connections.lock().remove(&NodeId(1));
    first.stop().await;
    // Whoever leads now is found in time, from either node.
    for (name, node) in [("a.example", &second), ("b.example", &third)] {
        let added = node.metadata.add_site(name, "UTC", &admin(), "").await;
        added.unwrap_or_else(|error| panic!("{name}: {error}"));
    }
    // Two of three are there: one may go for good.
    let forget = set_state(1, NodeState::Left, true);
    let forgotten = second.metadata.execute(forget, &admin(), "dead").await;
    forgotten.unwrap();
    let without_first = |directory: &Directory| {
        drain_progress(NodeId(1), &directory.placement(), &BTreeMap::new()).is_done()
    };
    second.sees("nothing is on node 1", without_first).await;
    third.sees("nothing is on node 1", without_first).await;
    second.metadata.read_barrier().await.unwrap();
    second.stop().await;
    third.stop().await;
}

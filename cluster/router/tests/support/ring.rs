//! Three nodes in one process: real routers and real connections, over groups whose leaders, quorums and doubts the
//! test decides.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    sync::Arc,
    time::Duration,
};

use futures::FutureExt as _;
use ringtail_log::FaultDisk;
use ringtail_proto::{GroupId, NodeId, SiteId, wire::peer::events_client::EventsClient};
use ringtail_ring::SlotTable;
use ringtail_router::{
    Channels, EventsService, GroupRoute, HintedLeadership, PeerNodes, Router, RouterOptions,
    RouterSeams, Spawning, SpoolPlace, SystemClock, TonicLink,
};
use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
    sync::watch,
    task::JoinHandle,
};
use tonic::transport::{Channel, Endpoint, server::TcpIncoming};

use super::fake_group::{FakeGroup, FakeReplica};

pub(crate) const NODES: u64 = 3;
pub(crate) const GROUPS: u32 = 2;

/// The way from one node to another.
pub(crate) struct Wire {
    target: watch::Sender<Option<SocketAddr>>,
    is_cut: watch::Sender<bool>,
    channel: Channel,
}

impl Wire {
    async fn new() -> Arc<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let channel = Endpoint::from_shared(format!("http://{address}"))
            .unwrap()
            .connect_lazy();
        let wire = Arc::new(Self {
            target: watch::Sender::new(None),
            is_cut: watch::Sender::new(false),
            channel,
        });
        let carrying = Arc::clone(&wire);
        tokio::spawn(async move {
            while let Ok((mut near, _)) = listener.accept().await {
                let wire = Arc::clone(&carrying);
                tokio::spawn(async move {
                    let mut cut = wire.is_cut.subscribe();
                    let mut target = wire.target.subscribe();
                    let Some(address) = *target.borrow_and_update() else {
                        return;
                    };
                    if *cut.borrow() {
                        return;
                    }
                    let Ok(mut far) = TcpStream::connect(address).await else {
                        return;
                    };
                    tokio::select! {
                        _ = copy_bidirectional(&mut near, &mut far) => {}
                        _ = cut.wait_for(|is_cut| *is_cut) => {}
                        _ = target.changed() => {}
                    }
                });
            }
        });
        wire
    }

    pub(crate) fn client(&self) -> EventsClient<Channel> {
        EventsClient::new(self.channel.clone())
    }

    pub(crate) fn set_cut(&self, is_cut: bool) {
        self.is_cut.send_replace(is_cut);
    }
}

/// A node: its router, its disk, and what serves the others.
pub(crate) struct Node {
    pub(crate) router: Router,
    pub(crate) disk: FaultDisk,
    servers: Vec<JoinHandle<()>>,
}

/// Three nodes.
pub(crate) struct Ring {
    pub(crate) options: RouterOptions,
    pub(crate) groups: Vec<Arc<FakeGroup>>,
    pub(crate) wires: BTreeMap<(u64, u64), Arc<Wire>>,
    pub(crate) nodes: BTreeMap<u64, Node>,
    /// Nodes without replicas, once they are started again.
    pub(crate) guests: BTreeSet<u64>,
}

pub(crate) fn quick() -> RouterOptions {
    RouterOptions {
        quorum_wait_ms_max: 250,
        applied_wait_ms_max: 1_000,
        retry_pause_ms_max: 20,
        breaker_open_ms: 50,
        spool_copy_wait_ms_max: 200,
        ..RouterOptions::default()
    }
}

impl Ring {
    pub(crate) async fn start(options: RouterOptions) -> Self {
        let mut wires = BTreeMap::new();
        for from in 1..=NODES {
            for to in (1..=NODES).filter(|to| *to != from) {
                wires.insert((from, to), Wire::new().await);
            }
        }
        let mut ring = Self {
            options,
            groups: (1..=GROUPS)
                .map(|group| FakeGroup::new(GroupId(group)))
                .collect(),
            wires,
            nodes: BTreeMap::new(),
            guests: BTreeSet::new(),
        };
        for node in 1..=NODES {
            ring.start_node(node, FaultDisk::new()).await;
        }
        for group in &ring.groups {
            group.lead(Some(1));
        }
        ring
    }

    pub(crate) async fn start_node(&mut self, node: u64, disk: FaultDisk) {
        let clock = Arc::new(SystemClock::new());
        let wires: BTreeMap<u64, Arc<Wire>> = self
            .wires
            .iter()
            .filter(|((from, _), _)| *from == node)
            .map(|((_, to), wire)| (*to, Arc::clone(wire)))
            .collect();
        let channels: Channels = Arc::new(move |peer: NodeId| {
            let wire = wires.get(&peer.0)?;
            (!*wire.is_cut.borrow()).then(|| wire.channel.clone())
        });
        let peers: PeerNodes = Arc::new(|| (1..=NODES).map(NodeId).collect());
        let link = Arc::new(TonicLink::new(
            NodeId(node),
            self.options,
            clock.clone(),
            channels,
            peers,
        ));
        let is_guest = self.guests.contains(&node);
        let others: Vec<_> = (1..=NODES)
            .filter(|other| *other != node)
            .map(NodeId)
            .collect();
        let routes = self.groups.iter().map(|group| match is_guest {
            true => GroupRoute {
                group: group.group,
                log: None,
                leadership: Arc::new(HintedLeadership::new(others.clone())),
            },
            false => GroupRoute {
                group: group.group,
                log: Some(Arc::new(FakeReplica {
                    node: NodeId(node),
                    group: Arc::clone(group),
                })),
                leadership: Arc::new(group.beliefs[&NodeId(node)].subscribe()),
            },
        });
        let seams = RouterSeams {
            node: NodeId(node),
            clock,
            leaders: link.clone(),
            copies: link,
            spool: SpoolPlace {
                disk: Arc::new(disk.clone()),
                directory: "/spool".into(),
            },
            spawning: Spawning::OwnArbiters(1),
        };
        let slots = SlotTable::even(GROUPS).unwrap();
        let router = Router::start(self.options, slots, routes.collect(), seams)
            .await
            .unwrap();
        let mut servers = Vec::new();
        for ((from, _), wire) in self.wires.iter().filter(|((_, to), _)| *to == node) {
            let caller = NodeId(*from);
            let service = EventsService::server(router.clone(), Arc::new(move |_| Ok(caller)));
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            wire.target
                .send_replace(Some(listener.local_addr().unwrap()));
            let serving = tonic::transport::Server::builder()
                .add_service(service)
                .serve_with_incoming(TcpIncoming::from(listener));
            servers.push(tokio::spawn(serving.map(drop)));
        }
        let node_up = Node {
            router,
            disk,
            servers,
        };
        self.nodes.insert(node, node_up);
    }

    /// Stops a node as a power cut would, and returns what its disk kept.
    pub(crate) async fn crash(&mut self, node: u64, seed: u64) -> FaultDisk {
        let stopped = self.nodes.remove(&node).unwrap();
        let disk = stopped.disk.lose_power(seed);
        for ((_, to), wire) in &self.wires {
            if *to == node {
                wire.target.send_replace(None);
            }
        }
        for server in &stopped.servers {
            server.abort();
        }
        stopped.router.shutdown(Duration::ZERO).await;
        disk
    }

    pub(crate) async fn restart(&mut self, node: u64, seed: u64) {
        let disk = self.crash(node, seed).await;
        self.start_node(node, disk).await;
    }

    pub(crate) fn router(&self, node: u64) -> &Router {
        &self.nodes[&node].router
    }

    pub(crate) fn cut(&self, from: u64, to: u64, is_cut: bool) {
        self.wires[&(from, to)].set_cut(is_cut);
    }

    /// Cuts a node off from the others, or connects it again.
    pub(crate) fn isolate(&self, node: u64, is_cut: bool) {
        for ((from, to), wire) in &self.wires {
            if *from == node || *to == node {
                wire.set_cut(is_cut);
            }
        }
    }

    pub(crate) fn accepted(&self) -> BTreeSet<u128> {
        self.groups
            .iter()
            .flat_map(|group| group.accepted())
            .collect()
    }

    /// A site of this group.
    pub(crate) fn site_of(&self, group: u32) -> SiteId {
        let router = self.router(*self.nodes.keys().next().unwrap());
        (1..)
            .map(SiteId)
            .find(|site| router.group_of(*site) == GroupId(group))
            .unwrap()
    }

    pub(crate) async fn until_spools_are_empty(&self) {
        until("spools are empty", || {
            self.nodes
                .values()
                .all(|node| node.router.is_spool_drained())
        })
        .await;
    }

    pub(crate) async fn stop(self) {
        for node in self.nodes.into_values() {
            assert!(node.router.shutdown(Duration::from_secs(10)).await);
            assert_eq!(node.router.bytes_in_flight(), 0);
        }
    }
}

/// A choice that looks random, from a seed.
pub(crate) struct Dice(pub(crate) u64);

impl Dice {
    pub(crate) fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % sides
    }
}

/// Waits for a condition that nobody announces.
pub(crate) async fn until(what: &str, is_so: impl Fn() -> bool) {
    let waiting = async {
        while !is_so() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let is_timely = tokio::time::timeout(Duration::from_secs(20), waiting).await;
    assert!(is_timely.is_ok(), "not within 20 s: {what}");
}

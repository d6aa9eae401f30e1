//! Three nodes in one process: real routers and real connections, over groups whose leaders, quorums and doubts the
//! test decides.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use futures::{FutureExt as _, future::BoxFuture};
use parking_lot::Mutex;
use ringtail_log::FaultDisk;
use ringtail_proto::{
    GroupId, NodeId, SiteId, UnixMillis, Verdict,
    stored::{PartitionEntry, partition_entry::Body},
    wire::peer::events_client::EventsClient,
};
use ringtail_ring::SlotTable;
use ringtail_router::{
    Channels, EventsService, GroupRoute, HintedLeadership, Leader, PeerNodes, Proposed,
    ReplicatedLog, RouteError, Router, RouterOptions, RouterSeams, Spawning, SpoolPlace,
    SystemClock, TonicLink,
};
use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
    sync::watch,
    task::JoinHandle,
};
use tonic::transport::{Channel, Endpoint, server::TcpIncoming};

pub(crate) const NODES: u64 = 3;
pub(crate) const GROUPS: u32 = 2;

/// A group as its replicas would agree on it.
pub(crate) struct FakeGroup {
    pub(crate) group: GroupId,
    state: Mutex<GroupState>,
    /// Counts changes of leader and quorum.
    changes: watch::Sender<u64>,
    /// What each node believes.
    beliefs: BTreeMap<NodeId, watch::Sender<Leader>>,
}

#[derive(Default)]
struct GroupState {
    leader: Option<NodeId>,
    has_quorum: bool,
    /// So many of the next entries commit without anybody being told.
    doubts: usize,
    /// Entries in the leader's log that no quorum has yet.
    pending: Vec<(u64, PartitionEntry)>,
    /// What became of entries, by number.
    results: BTreeMap<u64, Result<Bytes, RouteError>>,
    next_number: u64,
    entries: Vec<PartitionEntry>,
    accepted: BTreeSet<u128>,
    duplicates: usize,
}

impl FakeGroup {
    fn new(group: GroupId) -> Arc<Self> {
        let nodes = (1..=NODES).map(NodeId);
        Arc::new(Self {
            group,
            state: Mutex::new(GroupState {
                has_quorum: true,
                ..GroupState::default()
            }),
            changes: watch::Sender::new(0),
            beliefs: nodes
                .map(|node| (node, watch::Sender::new(Leader::Unknown)))
                .collect(),
        })
    }

    /// Makes a node lead, or none, and lets everybody know.
    pub(crate) fn lead(&self, leader: Option<u64>) {
        let leader = leader.map(NodeId);
        {
            let mut state = self.state.lock();
            let group = self.group;
            // What no quorum had may be in the log of the next leader, or not.
            for (number, entry) in std::mem::take(&mut state.pending) {
                if number % 2 == 0 {
                    state.apply(&entry);
                }
                let message = "the leader changed".to_owned();
                let doubt = RouteError::InDoubt { group, message };
                state.results.insert(number, Err(doubt));
            }
            state.leader = leader;
        }
        self.changes.send_modify(|changes| *changes += 1);
        for (node, belief) in &self.beliefs {
            belief.send_replace(match leader {
                Some(leader) if leader == *node => Leader::Here,
                Some(leader) => Leader::Peer(leader),
                None => Leader::Unknown,
            });
        }
    }

    /// Lets one node believe in another leader than there is.
    pub(crate) fn mislead(&self, node: u64, leader: Leader) {
        self.beliefs[&NodeId(node)].send_replace(leader);
    }

    pub(crate) fn set_quorum(&self, has_quorum: bool) {
        {
            let mut state = self.state.lock();
            state.has_quorum = has_quorum;
            state.settle(self.group);
        }
        self.changes.send_modify(|changes| *changes += 1);
    }

    pub(crate) fn doubt_next(&self, entries: usize) {
        self.state.lock().doubts = entries;
    }

    /// Ids that were accepted; each once, or apply would have said so.
    pub(crate) fn accepted(&self) -> BTreeSet<u128> {
        self.state.lock().accepted.clone()
    }

    /// Events that came again.
    pub(crate) fn duplicates(&self) -> usize {
        self.state.lock().duplicates
    }

    pub(crate) fn entries(&self) -> usize {
        self.state.lock().entries.len()
    }

    /// Puts an entry in line at this node.
    fn propose(&self, node: NodeId, entry: PartitionEntry) -> u64 {
        let mut state = self.state.lock();
        let number = state.next_number;
        state.next_number += 1;
        if state.leader == Some(node) {
            state.pending.push((number, entry));
            state.settle(self.group);
        } else {
            let (group, leader) = (self.group, state.leader);
            let refusal = RouteError::NotLeader { group, leader };
            state.results.insert(number, Err(refusal));
        }
        number
    }

    fn stamp(&self) -> UnixMillis {
        let state = self.state.lock();
        UnixMillis(state.entries.last().map_or(0, |entry| entry.stamp_ms))
    }
}

impl GroupState {
    /// Commits and applies what is in line, in order, if there is a quorum.
    fn settle(&mut self, group: GroupId) {
        if !self.has_quorum {
            return;
        }
        for (number, entry) in std::mem::take(&mut self.pending) {
            let reply = self.apply(&entry);
            let is_doubtful = self.doubts > 0;
            self.doubts = self.doubts.saturating_sub(1);
            let message = "the leader stepped down".to_owned();
            let result = match is_doubtful {
                true => Err(RouteError::InDoubt { group, message }),
                false => Ok(reply),
            };
            self.results.insert(number, result);
        }
    }

    fn apply(&mut self, entry: &PartitionEntry) -> Bytes {
        let last = self.entries.last().map_or(0, |entry| entry.stamp_ms);
        assert!(
            entry.stamp_ms >= last && entry.stamp_ms > 0,
            "the stamp fell"
        );
        self.entries.push(entry.clone());
        let mut reply = Vec::new();
        if let Some(Body::Events(batch)) = &entry.body {
            for event in batch.sites.iter().flat_map(|site| &site.events) {
                let is_new = self.accepted.insert(u128::from(event.id_low));
                self.duplicates += usize::from(!is_new);
                let verdict = match is_new {
                    true => Verdict::Accepted,
                    false => Verdict::Duplicate,
                };
                reply.push(verdict.code());
            }
        }
        reply.into()
    }
}

/// One node's replica of a group.
struct FakeReplica {
    node: NodeId,
    group: Arc<FakeGroup>,
}

struct FakeProposal {
    group: Arc<FakeGroup>,
    number: u64,
    reply: Option<Bytes>,
}

impl ReplicatedLog for FakeReplica {
    fn propose(&self, entry: Bytes) -> BoxFuture<'static, Result<Box<dyn Proposed>, RouteError>> {
        let proposal = FakeProposal {
            number: self
                .group
                .propose(self.node, PartitionEntry::from_log(entry).unwrap()),
            group: Arc::clone(&self.group),
            reply: None,
        };
        async { Ok(Box::new(proposal) as Box<dyn Proposed>) }.boxed()
    }

    fn stamp(&self) -> UnixMillis {
        self.group.stamp()
    }
}

impl Proposed for FakeProposal {
    fn committed(&mut self) -> BoxFuture<'_, Result<(), RouteError>> {
        async move {
            let mut changes = self.group.changes.subscribe();
            loop {
                changes.borrow_and_update();
                let result = self.group.state.lock().results.remove(&self.number);
                if let Some(result) = result {
                    self.reply = Some(result?);
                    return Ok(());
                }
                changes.changed().await.unwrap();
            }
        }
        .boxed()
    }

    fn applied(self: Box<Self>) -> BoxFuture<'static, Result<Bytes, RouteError>> {
        async move { Ok(self.reply.unwrap()) }.boxed()
    }
}

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

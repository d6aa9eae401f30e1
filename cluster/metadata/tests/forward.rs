//! Changes from any node: to the leader in one hop, and back when they show.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test may fail by panic"
)]

#[path = "support/peer_service.rs"]
mod peer_service;

use std::{
    collections::VecDeque,
    net::SocketAddr,
    sync::{Arc, Mutex, OnceLock},
    time::Duration,
};

use async_trait::async_trait;
use bytes::Bytes;
use ringtail_checkpoint::MemoryStore;
use ringtail_metadata::{
    Actor, Channels, ClusterId, Command, Consensus, Domain, ENTRY_BYTES_MAX, Entry, LeaderLink,
    Limits, LinkError, Metadata, MetadataError, MetadataMachine, NodeAddresses, Outcome, RingLink,
    Seams, Written,
};
use ringtail_proto::{ErrorKind, GroupId, LogIndex, NodeId, SiteId, UnixMillis};
use ringtail_raft::{Body, Committed, LogPosition, Machine as _, RaftError};
use tokio::sync::watch;
use tonic::transport::Endpoint;

use peer_service::ring_server;

/// Group 0 of a few nodes in one place: what its leader writes, all nodes apply, some of them later.
struct Ring {
    leader: watch::Sender<Option<NodeId>>,
    log: Mutex<Vec<Committed>>,
    machines: Vec<Arc<MetadataMachine>>,
    /// A node that applies nothing for now.
    lagging: Mutex<Option<NodeId>>,
}

impl Ring {
    fn new(count: usize) -> Arc<Self> {
        let machine = || MetadataMachine::open(Arc::new(MemoryStore::new())).unwrap();
        Arc::new(Self {
            leader: watch::Sender::new(Some(NodeId(1))),
            log: Mutex::default(),
            machines: (0..count).map(|_| Arc::new(machine())).collect(),
            lagging: Mutex::default(),
        })
    }

    fn machine(&self, node: NodeId) -> &Arc<MetadataMachine> {
        &self.machines[node.0 as usize - 1]
    }

    fn len(&self) -> usize {
        self.log.lock().unwrap().len()
    }

    /// Appends and applies; returns the leader's reply.
    async fn write(&self, leader: NodeId, entry: Bytes) -> Written {
        let index = LogIndex(self.len() as u64 + 1);
        let position = LogPosition {
            term: 1,
            node: leader,
            index,
        };
        let body = Body::Command(entry);
        self.log.lock().unwrap().push(Committed { position, body });
        let mut reply = None;
        for node in (1..=self.machines.len() as u64).map(NodeId) {
            let is_lagging = *self.lagging.lock().unwrap() == Some(node);
            if !is_lagging {
                let replies = self.catch_up(node).await;
                reply = if node == leader {
                    replies.last().cloned()
                } else {
                    reply
                };
            }
        }
        let reply = reply.unwrap();
        Written { reply, index }
    }

    async fn catch_up(&self, node: NodeId) -> Vec<Bytes> {
        let machine = self.machine(node);
        let applied = *machine.applied().borrow();
        let rest = self.log.lock().unwrap()[applied.0 as usize..].to_vec();
        machine.apply(rest).await.unwrap()
    }

    /// A node's handle with this way to the leader.
    fn metadata(self: &Arc<Self>, node: u64, link: impl LeaderLink) -> Metadata {
        let member = Member {
            ring: Arc::clone(self),
            node: NodeId(node),
        };
        let machine = Arc::clone(self.machine(NodeId(node)));
        Metadata::new(member, machine, Arc::new(Clock(node)))
            .with_link(Arc::new(link))
            .with_deadline(Duration::from_secs(5))
    }
}

/// One node's part of it.
struct Member {
    ring: Arc<Ring>,
    node: NodeId,
}

impl Member {
    fn not_leader(&self) -> RaftError {
        RaftError::NotLeader {
            group: GroupId(0),
            leader: self.leader(),
        }
    }
}

#[async_trait]
impl Consensus for Member {
    async fn propose(&self, entry: Bytes) -> Result<Written, RaftError> {
        if !self.is_leader() {
            return Err(self.not_leader());
        }
        Ok(self.ring.write(self.node, entry).await)
    }

    fn is_leader(&self) -> bool {
        self.leader() == Some(self.node)
    }

    fn leader(&self) -> Option<NodeId> {
        *self.ring.leader.borrow()
    }

    async fn leader_changed(&self, from: Option<NodeId>) {
        let mut leader = self.ring.leader.subscribe();
        leader.wait_for(|leader| *leader != from).await.unwrap();
    }

    async fn read_index(&self) -> Result<LogIndex, RaftError> {
        if !self.is_leader() {
            return Err(self.not_leader());
        }
        Ok(LogIndex(self.ring.len() as u64))
    }

    async fn raise_floor(&self, _floor: LogPosition) -> Result<(), RaftError> {
        Ok(())
    }
}

/// Each node's clock is its own, by minutes.
struct Clock(u64);

impl Seams for Clock {
    fn now(&self) -> UnixMillis {
        UnixMillis(self.0 as i64 * 600_000)
    }

    fn random(&self) -> [u8; 32] {
        [self.0 as u8; 32]
    }
}

/// What goes wrong with one request.
#[derive(Clone, Copy)]
enum Fault {
    NotWritten,
    /// The answer is lost, the request was carried out.
    AnswerLost,
}

/// A link that calls the other node's half, after the faults it was told.
#[derive(Clone)]
struct DirectLink {
    peers: Arc<OnceLock<Vec<Metadata>>>,
    faults: Arc<Mutex<VecDeque<Fault>>>,
}

impl DirectLink {
    fn new() -> Self {
        Self {
            peers: Arc::default(),
            faults: Arc::default(),
        }
    }

    fn fault(&self) -> Option<Fault> {
        self.faults.lock().unwrap().pop_front()
    }

    fn peer(&self, node: NodeId) -> &Metadata {
        &self.peers.get().unwrap()[node.0 as usize - 1]
    }
}

#[async_trait]
impl LeaderLink for DirectLink {
    async fn propose(&self, leader: NodeId, entry: Bytes) -> Result<Written, LinkError> {
        let fault = self.fault();
        if matches!(fault, Some(Fault::NotWritten)) {
            return Err(LinkError::NotWritten("no way".into()));
        }
        let written = self.peer(leader).propose_for_peer(entry).await;
        if matches!(fault, Some(Fault::AnswerLost)) {
            return Err(LinkError::InDoubt("lost".into()));
        }
        written.map_err(|error| LinkError::NotWritten(error.to_string()))
    }

    async fn read_index(&self, leader: NodeId) -> Result<LogIndex, LinkError> {
        if self.fault().is_some() {
            return Err(LinkError::InDoubt("lost".into()));
        }
        let index = self.peer(leader).read_index_for_peer().await;
        index.map_err(|error| LinkError::NotWritten(error.to_string()))
    }
}

/// Three nodes, node 1 leading, and the link that they share.
async fn three() -> (Arc<Ring>, DirectLink, [Metadata; 3]) {
    let ring = Ring::new(3);
    let link = DirectLink::new();
    let nodes = [1, 2, 3].map(|node| ring.metadata(node, link.clone()));
    assert!(link.peers.set(nodes.to_vec()).is_ok());
    let init = Command::InitCluster {
        cluster: ClusterId(1),
        groups: 4,
        limits: Limits::default(),
    };
    nodes[2].execute(init, &admin(), "").await.unwrap();
    (ring, link, nodes)
}

fn admin() -> Actor {
    Actor::new("an administrator")
}

fn add_site(name: &str) -> Command {
    Command::AddSite {
        domain: Domain::parse(name).unwrap(),
        timezone: "UTC".into(),
        sketch_key: 1,
    }
}

fn register(node: u64) -> Command {
    Command::RegisterNode {
        node: NodeId(node),
        addresses: NodeAddresses::default(),
    }
}

#[tokio::test(start_paused = true)]
async fn a_change_shows_where_it_was_asked_for() {
    let (ring, _link, nodes) = three().await;
    *ring.lagging.lock().unwrap() = Some(NodeId(2));
    let asked = nodes[1].clone();
    let asking = tokio::spawn(async move {
        let outcome = asked.execute(add_site("a.example"), &admin(), "").await;
        (outcome, asked.directory().site(SiteId(1)).is_some())
    });
    // The leader has it; the node that was asked does not answer before it has it too.
    let mut leader = nodes[0].changes();
    leader
        .wait_for(|index| *index == LogIndex(2))
        .await
        .unwrap();
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert!(!asking.is_finished());
    ring.catch_up(NodeId(2)).await;
    let answer = asking.await.unwrap();
    assert_eq!(answer, (Ok(Outcome::Site(SiteId(1))), true));
}

#[tokio::test(start_paused = true)]
async fn a_change_that_does_not_show_in_time_is_in_doubt() {
    let (ring, _link, nodes) = three().await;
    *ring.lagging.lock().unwrap() = Some(NodeId(2));
    let error = nodes[1].execute(add_site("a.example"), &admin(), "").await;
    assert!(error.unwrap_err().may_still_commit());
    assert!(nodes[0].directory().site(SiteId(1)).is_some());
}

#[tokio::test(start_paused = true)]
async fn whoever_leads_next_is_found() {
    let (ring, _link, nodes) = three().await;
    ring.leader.send_replace(None);
    let asked = nodes[1].clone();
    let asking =
        tokio::spawn(async move { asked.execute(add_site("a.example"), &admin(), "").await });
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert!(!asking.is_finished());
    ring.leader.send_replace(Some(NodeId(3)));
    assert_eq!(asking.await.unwrap(), Ok(Outcome::Site(SiteId(1))));
    // Or it is the node itself.
    ring.leader.send_replace(Some(NodeId(2)));
    let outcome = nodes[1].execute(add_site("b.example"), &admin(), "").await;
    assert_eq!(outcome, Ok(Outcome::Site(SiteId(2))));
}

#[tokio::test(start_paused = true)]
async fn without_a_leader_in_time_nothing_is_written() {
    let (ring, _link, nodes) = three().await;
    ring.leader.send_replace(None);
    let before = ring.len();
    let begin = tokio::time::Instant::now();
    let error = nodes[1].execute(add_site("a.example"), &admin(), "").await;
    let error = error.unwrap_err();
    assert_eq!(
        (error.kind(), error.may_still_commit()),
        (ErrorKind::Unavailable, false)
    );
    assert!(
        begin.elapsed() <= Duration::from_secs(5),
        "{:?}",
        begin.elapsed()
    );
    let error = nodes[1].read_barrier().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert_eq!(ring.len(), before);
}

#[tokio::test(start_paused = true)]
async fn what_was_not_written_is_tried_again_and_what_may_have_been_is_not() {
    let (ring, link, nodes) = three().await;
    let faults = |faults: &[Fault]| link.faults.lock().unwrap().extend(faults);
    faults(&[Fault::NotWritten; 3]);
    let outcome = nodes[1].execute(add_site("a.example"), &admin(), "").await;
    assert_eq!(outcome, Ok(Outcome::Site(SiteId(1))));
    let before = ring.len();
    faults(&[Fault::AnswerLost]);
    let error = nodes[1].execute(add_site("b.example"), &admin(), "").await;
    assert!(error.unwrap_err().may_still_commit());
    assert_eq!(ring.len(), before + 1);
    // Twice is once: it may be sent again.
    faults(&[Fault::AnswerLost, Fault::NotWritten]);
    let outcome = nodes[1].execute(register(1), &admin(), "").await;
    assert_eq!(outcome, Ok(Outcome::Done));
    assert_eq!(ring.len(), before + 3);
}

#[tokio::test(start_paused = true)]
async fn a_request_of_a_peer_goes_no_further() {
    let (ring, _link, nodes) = three().await;
    let entry = Entry {
        who: "node 3".into(),
        at: UnixMillis(1),
        why: String::new(),
        command: add_site("a.example"),
    };
    let before = ring.len();
    // Node 2 knows who leads, and does not pass it on.
    let error = nodes[1].propose_for_peer(entry.to_log()).await.unwrap_err();
    assert_eq!(
        (error.kind(), error.may_still_commit()),
        (ErrorKind::Unavailable, false)
    );
    assert!(nodes[1].read_index_for_peer().await.is_err());
    assert_eq!(ring.len(), before);
    assert!(nodes[0].propose_for_peer(entry.to_log()).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn what_a_peer_sends_is_checked_before_it_reaches_the_log() {
    let (ring, _link, nodes) = three().await;
    let entry = |who: &str, command: Command| Entry {
        who: who.into(),
        at: UnixMillis(1),
        why: String::new(),
        command,
    };
    let bad_move = Command::MoveGroup {
        group: GroupId(1),
        target: vec![NodeId(1); 9],
    };
    let mut cut = entry("node 3", add_site("a.example")).to_log().to_vec();
    cut.pop();
    let mut newer = cut.clone();
    newer[0] = 9;
    let before = ring.len();
    for (bytes, expect) in [
        (Bytes::new(), ErrorKind::Internal),
        (Bytes::from(cut), ErrorKind::Internal),
        (Bytes::from(newer), ErrorKind::Internal),
        (
            Bytes::from(vec![1; ENTRY_BYTES_MAX + 1]),
            ErrorKind::InvalidRequest,
        ),
        (
            Bytes::from(vec![0xff; ENTRY_BYTES_MAX]),
            ErrorKind::Internal,
        ),
        (
            entry("", add_site("a.example")).to_log(),
            ErrorKind::InvalidRequest,
        ),
        (
            entry("node 3", bad_move).to_log(),
            ErrorKind::InvalidRequest,
        ),
    ] {
        let error = nodes[0].propose_for_peer(bytes).await.unwrap_err();
        assert_eq!(error.kind(), expect, "{error}");
    }
    assert_eq!(ring.len(), before);
}

#[tokio::test(start_paused = true)]
async fn only_the_leader_s_clock_counts() {
    let (_ring, _link, nodes) = three().await;
    nodes[2]
        .execute(add_site("a.example"), &admin(), "")
        .await
        .unwrap();
    let site = nodes[2].directory().site(SiteId(1)).unwrap();
    assert_eq!(site.created, Clock(1).now());
}

#[tokio::test(start_paused = true)]
async fn a_read_barrier_waits_for_all_that_was_acknowledged() {
    let (ring, link, nodes) = three().await;
    *ring.lagging.lock().unwrap() = Some(NodeId(3));
    nodes[0]
        .execute(add_site("a.example"), &admin(), "")
        .await
        .unwrap();
    let reader = nodes[2].clone();
    let reading = tokio::spawn(async move {
        reader.read_barrier().await.unwrap();
        reader.directory().site(SiteId(1)).is_some()
    });
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert!(!reading.is_finished());
    ring.catch_up(NodeId(3)).await;
    assert!(reading.await.unwrap());
    // A lost answer is asked for again: a read changes nothing.
    link.faults.lock().unwrap().push_back(Fault::AnswerLost);
    nodes[2].read_barrier().await.unwrap();
    nodes[0].read_barrier().await.unwrap();
}

async fn serve(metadata: Metadata) -> SocketAddr {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let incoming = tokio_stream::wrappers::TcpListenerStream::new(listener);
    let server = tonic::transport::Server::builder().add_service(ring_server(metadata));
    tokio::spawn(server.serve_with_incoming(incoming));
    address
}

/// Channels to these addresses, in the order of the nodes.
fn channels(addresses: Arc<OnceLock<Vec<SocketAddr>>>) -> Channels {
    Arc::new(move |node| {
        let address = *addresses.get()?.get(node.0 as usize - 1)?;
        let endpoint = Endpoint::from_shared(format!("http://{address}")).unwrap();
        Some(endpoint.connect_lazy())
    })
}

#[tokio::test]
async fn nodes_change_the_metadata_over_grpc() {
    let ring = Ring::new(2);
    let addresses = Arc::new(OnceLock::new());
    let link = || RingLink::new(channels(Arc::clone(&addresses)));
    let nodes = [1, 2].map(|node| ring.metadata(node, link()));
    let served = vec![serve(nodes[0].clone()).await, serve(nodes[1].clone()).await];
    addresses.set(served).unwrap();
    let init = Command::InitCluster {
        cluster: ClusterId(1),
        groups: 4,
        limits: Limits::default(),
    };
    nodes[1].execute(init, &admin(), "").await.unwrap();
    nodes[1].read_barrier().await.unwrap();
    let (token, secret) = nodes[1]
        .create_join_token("a node", 60_000_000, &admin(), "")
        .await
        .unwrap();
    assert_eq!(token.id, secret.token);
    // What the state refuses comes back as it is.
    nodes[1]
        .execute(add_site("a.example"), &admin(), "")
        .await
        .unwrap();
    let again = nodes[1].execute(add_site("a.example"), &admin(), "").await;
    assert!(
        matches!(again, Err(MetadataError::SiteExists { .. })),
        "{again:?}"
    );
    // And so it goes the other way round.
    ring.leader.send_replace(Some(NodeId(2)));
    let outcome = nodes[0].execute(add_site("b.example"), &admin(), "").await;
    assert_eq!(outcome, Ok(Outcome::Site(SiteId(2))));
}

#[tokio::test]
async fn the_service_says_whether_something_was_written() {
    let ring = Ring::new(3);
    let addresses = Arc::new(OnceLock::new());
    let link = RingLink::new(channels(Arc::clone(&addresses)));
    let follower = ring.metadata(2, RingLink::new(channels(Arc::clone(&addresses))));
    let closed = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let nowhere = closed.local_addr().unwrap();
    drop(closed);
    let leader = ring.metadata(1, RingLink::new(channels(Arc::clone(&addresses))));
    let served = vec![serve(leader).await, serve(follower).await, nowhere];
    addresses.set(served).unwrap();
    let entry = Entry {
        who: "node 2".into(),
        at: UnixMillis(1),
        why: String::new(),
        command: add_site("a.example"),
    };
    let sent = |node, bytes| link.propose(NodeId(node), bytes);
    let not_written = |answer| matches!(answer, Err(LinkError::NotWritten(_)));
    assert!(
        not_written(sent(2, entry.to_log()).await),
        "it does not lead"
    );
    assert!(
        not_written(sent(3, entry.to_log()).await),
        "nobody is there"
    );
    assert!(
        not_written(sent(9, entry.to_log()).await),
        "there is no way"
    );
    let garbage = sent(1, Bytes::from_static(b"garbage")).await;
    assert!(matches!(garbage, Err(LinkError::Refused(_))), "{garbage:?}");
    let huge = sent(1, Bytes::from(vec![1; ENTRY_BYTES_MAX + 1])).await;
    assert!(matches!(huge, Err(LinkError::Refused(_))), "{huge:?}");
    assert_eq!(ring.len(), 0);
    assert!(sent(1, entry.to_log()).await.is_ok());
    assert_eq!(link.read_index(NodeId(1)).await, Ok(LogIndex(1)));
    assert!(matches!(
        link.read_index(NodeId(2)).await,
        Err(LinkError::NotWritten(_))
    ));
}

//! Groups with members on three nodes, over real connections: elections, changes of members, snapshots.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use ringtail_log::FaultDisk;
use ringtail_proto::NodeId;
use ringtail_raft::{
    Channels, Group, LeadershipWatch, Peering, RaftError, RaftNode, RaftOptions, Staging,
};
use support::*;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::transport::{Channel, Endpoint, Server};

/// Longer than the default, so that a busy machine does not unseat the leader that a test counts on.
const ELECTION_TIMEOUT: Duration = Duration::from_secs(3);

type Directory = Arc<Mutex<BTreeMap<NodeId, Channel>>>;

/// Nodes that know each other's addresses.
struct Ring {
    election_timeout: Duration,
    directory: Directory,
    nodes: BTreeMap<u64, Node>,
}

struct Node {
    raft: RaftNode,
    group: Group,
    machine: Arc<TestMachine>,
    disk: FaultDisk,
    store: Store,
    server: JoinHandle<()>,
}

impl Default for Ring {
    fn default() -> Self {
        Self::with_election_timeout(ELECTION_TIMEOUT)
    }
}

impl Ring {
    fn with_election_timeout(election_timeout: Duration) -> Self {
        Self {
            election_timeout,
            directory: Directory::default(),
            nodes: BTreeMap::new(),
        }
    }

    async fn start(&mut self, id: u64) -> &Node {
        self.start_on(id, FaultDisk::new(), Store::default()).await
    }

    async fn start_on(&mut self, id: u64, disk: FaultDisk, store: Store) -> &Node {
        let directory = self.directory.clone();
        let channels: Channels = Arc::new(move |node| directory.lock().get(&node).cloned());
        let staging = Staging::open(Arc::new(disk.clone()), Path::new("/snapshots")).unwrap();
        let peering = Peering {
            channels,
            staging: Some(staging),
        };
        let options = RaftOptions {
            election_timeout_min: self.election_timeout,
            election_timeout_max: self.election_timeout + ELECTION_TIMEOUT / 3,
            ..RaftOptions::new(NodeId(id))
        };
        let raft = RaftNode::start(options, open_log(&disk), peering).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let service = raft.service();
        let incoming = TcpListenerStream::new(listener);
        let server = Server::builder().add_service(service);
        let server = tokio::spawn(async move {
            server.serve_with_incoming(incoming).await.unwrap();
        });
        let channel = Endpoint::from_shared(format!("http://{address}")).unwrap();
        self.directory
            .lock()
            .insert(NodeId(id), channel.connect_lazy());
        let machine = TestMachine::open(&store);
        let group = raft.open_group(GROUP, machine.clone()).await.unwrap();
        let node = Node {
            raft,
            group,
            machine,
            disk,
            store,
            server,
        };
        self.nodes.entry(id).insert_entry(node).into_mut()
    }

    async fn of_three() -> Self {
        Self::default().grown_to([2, 3]).await
    }

    /// A ring of one grows by these voters.
    async fn grown_to<const N: usize>(self, others: [u64; N]) -> Self {
        let mut ring = self;
        ring.start(1).await.group.initialize_single().await.unwrap();
        ring.group(1).ready().await.unwrap();
        for id in others {
            ring.start(id).await;
            ring.group(1).add_learner(NodeId(id)).await.unwrap();
        }
        let mut voters = nodes(others);
        voters.insert(NodeId(1));
        ring.group(1).change_voters(&voters, false).await.unwrap();
        ring
    }

    fn group(&self, id: u64) -> &Group {
        &self.nodes[&id].group
    }

    /// The process ends without a word; its disk stays.
    async fn kill(&mut self, id: u64) -> (FaultDisk, Store) {
        let node = self.nodes.remove(&id).unwrap();
        self.directory.lock().remove(&NodeId(id));
        node.server.abort();
        let disk = node.disk.lose_power(id);
        // What it still does no longer reaches the disk or anybody.
        drop(node.raft.shutdown().await);
        (disk, node.store)
    }

    /// Waits until one of these nodes leads, and everybody among them says so.
    async fn leader_among(&self, ids: &[u64]) -> u64 {
        let agreed = async {
            loop {
                let leaders: BTreeSet<_> = ids.iter().map(|id| self.group(*id).leader()).collect();
                if let [Some(leader)] = leaders.iter().copied().collect::<Vec<_>>()[..]
                    && ids.contains(&leader.0)
                    && self.group(leader.0).is_leader()
                {
                    return leader.0;
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(PATIENCE, agreed)
            .await
            .expect("a leader")
    }

    /// Has these commands applied, by whoever leads among these nodes.
    async fn apply_among(&self, ids: &[u64], numbers: std::ops::Range<u64>) -> u64 {
        let mut leader = self.leader_among(ids).await;
        for number in numbers {
            while !self.is_applied_by(leader, number).await {
                leader = self.leader_among(ids).await;
            }
        }
        leader
    }

    /// False when the node does not lead any more; then the command is not in its log, or was in doubt and is looked for.
    async fn is_applied_by(&self, leader: u64, number: u64) -> bool {
        let node = &self.nodes[&leader];
        if node.group.ready().await.is_err() {
            return false;
        }
        if node.machine.commands().contains(&command(number)) {
            return true;
        }
        match node.group.propose(command(number)).await {
            Ok(proposal) => proposal.applied().await.is_ok(),
            Err(RaftError::NotLeader { .. }) => false,
            Err(error) => panic!("{error}"),
        }
    }

    /// Leadership goes to this node.
    async fn hand_over_to(&self, target: u64) {
        let everybody: Vec<_> = self.nodes.keys().copied().collect();
        loop {
            let from = self.leader_among(&everybody).await;
            if from == target {
                return;
            }
            self.all_applied(from).await;
            drop(self.group(from).transfer_leader(NodeId(target)).await);
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Waits until every node has applied what the leader has.
    async fn all_applied(&self, leader: u64) {
        let position = self.group(leader).applied().unwrap();
        for node in self.nodes.values() {
            let mut applied = node.group.watch_applied();
            let reached = applied.wait_for(|applied| *applied >= Some(position));
            match tokio::time::timeout(PATIENCE, reached).await {
                Ok(reached) => drop(reached.expect("the group runs")),
                Err(_) => panic!("{position} does not arrive: {:?}", node.group.metrics()),
            }
        }
    }

    async fn stop(self) {
        for node in self.nodes.into_values() {
            node.raft.shutdown().await.unwrap();
            node.server.abort();
        }
    }
}

fn nodes<const N: usize>(ids: [u64; N]) -> BTreeSet<NodeId> {
    ids.map(NodeId).into()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ring_of_one_grows_to_three_that_hold_the_same() {
    let ring = Ring::of_three().await;
    let leader = ring.apply_among(&[1, 2, 3], 0..200).await;
    ring.all_applied(leader).await;
    let expect: Vec<_> = (0..200).map(command).collect();
    for node in ring.nodes.values() {
        assert_eq!(node.machine.commands(), expect);
        assert_eq!(node.group.members().voters, nodes([1, 2, 3]));
    }
    ring.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_others_lead_when_the_leader_dies_and_it_comes_back_as_a_follower() {
    let mut ring = Ring::of_three().await;
    ring.apply_among(&[1, 2, 3], 0..50).await;
    let (disk, store) = ring.kill(1).await;
    let leader = ring.apply_among(&[2, 3], 50..100).await;
    ring.start_on(1, disk, store).await;
    ring.all_applied(leader).await;
    let expect: Vec<_> = (0..100).map(command).collect();
    for node in ring.nodes.values() {
        assert_eq!(node.machine.commands(), expect);
    }
    ring.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replica_behind_the_log_gets_the_rows_of_a_peer() {
    let mut ring = Ring::default();
    ring.start(1).await.group.initialize_single().await.unwrap();
    ring.group(1).ready().await.unwrap();
    apply_range(ring.group(1), 0..300).await;
    let floor = ring.nodes[&1].machine.save().unwrap();
    ring.group(1).raise_floor(floor).await.unwrap();
    apply_range(ring.group(1), 300..310).await;
    ring.start(2).await;
    ring.group(1).add_learner(NodeId(2)).await.unwrap();
    ring.all_applied(1).await;
    let joined = &ring.nodes[&2];
    assert!(joined.group.metrics().floor >= Some(floor));
    let expect: Vec<_> = (0..310).map(command).collect();
    assert_eq!(joined.machine.commands(), expect);
    // What it got survives it.
    let (disk, store) = ring.kill(2).await;
    ring.start_on(2, disk, store).await;
    apply_range(ring.group(1), 310..320).await;
    ring.all_applied(1).await;
    assert_eq!(ring.nodes[&2].machine.commands().len(), 320);
    ring.stop().await;
}

/// Their own timeout would be over only after the lost leader's lease and as long again.
#[tokio::test(flavor = "multi_thread")]
async fn nodes_that_never_led_take_over_as_soon_as_the_lease_is_over() {
    for is_back_at_once in [false, true] {
        let timeout = Duration::from_secs(10);
        let ring = Ring::with_election_timeout(timeout);
        let mut ring = ring.grown_to([2, 3]).await;
        let leader = ring.apply_among(&[1, 2, 3], 0..20).await;
        assert_eq!(leader, 1, "nobody else ever led");
        // Long enough for the streams that followers keep to their leader.
        for follower in [2, 3] {
            hears_beats(ring.group(follower), 10).await;
        }
        let old_term = ring.group(1).metrics().term;
        let (disk, store) = ring.kill(1).await;
        let killed = Instant::now();
        if is_back_at_once {
            ring.start_on(1, disk, store).await;
        }
        let others = [2, 3].map(|id| ring.group(id).watch_leadership());
        until(|| {
            let mut current = others.iter().map(LeadershipWatch::current);
            current.all(|current| current.term > old_term && current.leader.is_some())
        })
        .await;
        let took = killed.elapsed();
        assert!(took < timeout * 2 - timeout / 10, "{took:?}");
        ring.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replica_knows_how_long_it_has_been_alone() {
    let mut ring = Ring::of_three().await;
    ring.hand_over_to(1).await;
    for id in [1, 2, 3] {
        until(|| is_in_contact(ring.group(id))).await;
    }
    // Nobody is left who could elect a leader, or acknowledge one.
    ring.kill(1).await;
    ring.kill(3).await;
    until(|| !is_in_contact(ring.group(2))).await;
    ring.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_that_nobody_acknowledges_knows_it() {
    let mut ring = Ring::of_three().await;
    ring.hand_over_to(1).await;
    until(|| is_in_contact(ring.group(1))).await;
    ring.kill(2).await;
    ring.kill(3).await;
    until(|| !is_in_contact(ring.group(1))).await;
    ring.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_follower_is_not_in_touch_through_a_leader_that_the_majority_has_lost() {
    let ring = Ring::default();
    let mut ring = ring.grown_to([2, 3, 4, 5]).await;
    ring.hand_over_to(1).await;
    until(|| is_in_contact(ring.group(2))).await;
    for id in [3, 4, 5] {
        ring.kill(id).await;
    }
    // It goes on hearing its leader.
    until(|| !is_in_contact(ring.group(2))).await;
    assert_eq!(ring.group(2).leader(), Some(NodeId(1)));
    ring.stop().await;
}

/// Waits until the leader was heard so often.
async fn hears_beats(group: &Group, beats: usize) {
    let (mut heard, mut last_age) = (0, Duration::MAX);
    until(|| {
        let age = group.contact_age().unwrap_or(Duration::MAX);
        heard += usize::from(age < last_age);
        last_age = age;
        heard >= beats
    })
    .await;
}

fn is_in_contact(group: &Group) -> bool {
    let age = group.contact_age();
    age.is_some_and(|age| age < Duration::from_secs(2))
}

#[tokio::test(flavor = "multi_thread")]
async fn leadership_goes_where_it_is_sent() {
    let ring = Ring::of_three().await;
    ring.apply_among(&[1, 2, 3], 0..20).await;
    for target in [2, 3, 1] {
        ring.hand_over_to(target).await;
    }
    ring.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_has_withdrawn_comes_to_lead_neither_by_election_nor_by_transfer() {
    let mut ring = Ring::of_three().await;
    ring.apply_among(&[1, 2, 3], 0..20).await;
    ring.hand_over_to(2).await;
    ring.nodes[&1].raft.withdraw_candidacy();
    // Asked to take over it declines, and the group finds a leader among the others.
    ring.all_applied(2).await;
    ring.group(2).transfer_leader(NodeId(1)).await.unwrap();
    ring.apply_among(&[2, 3], 20..30).await;
    // Its stream to the leader breaks, and its own timeout comes first.
    ring.hand_over_to(2).await;
    ring.kill(2).await;
    ring.apply_among(&[3], 30..40).await;
    assert!(!ring.group(1).is_leader());
    // Its vote was needed for that.
    assert_eq!(ring.group(3).members().voters, nodes([1, 2, 3]));
    ring.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_that_hands_over_can_leave() {
    let ring = Ring::of_three().await;
    ring.apply_among(&[1, 2, 3], 0..20).await;
    loop {
        ring.hand_over_to(2).await;
        match ring.group(2).change_voters(&nodes([2, 3]), false).await {
            Ok(()) => break,
            // It has lost the leadership again, or does not take anything just yet.
            Err(RaftError::NotLeader { .. }) => {}
            Err(error) => panic!("{error}"),
        }
    }
    assert_eq!(ring.group(2).members().voters, nodes([2, 3]));
    assert!(ring.group(2).members().learners.is_empty());
    ring.apply_among(&[2, 3], 20..40).await;
    ring.nodes[&1].raft.close_group(GROUP).await.unwrap();
    assert!(ring.nodes[&1].raft.group(GROUP).is_none());
    ring.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_without_a_majority_acknowledges_nothing() {
    let mut ring = Ring::of_three().await;
    apply_range(ring.group(1), 0..10).await;
    ring.kill(2).await;
    ring.kill(3).await;
    let proposed = ring.group(1).propose(command(10)).await;
    if let Ok(mut proposal) = proposed {
        let committed = tokio::time::timeout(Duration::from_secs(3), proposal.committed()).await;
        assert!(!matches!(committed, Ok(Ok(_))), "acknowledged alone");
    }
    ring.stop().await;
}

//! Three routers over real Raft groups: leaders are handed over and die under load.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test may fail by panic"
)]

mod support;

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    sync::Arc,
    time::Duration,
};

use async_trait::async_trait;
use bytes::Bytes;
use parking_lot::Mutex;
use ringtail_log::{FaultDisk, LogOptions, SegmentLog};
use ringtail_proto::{
    GroupId, NodeId, SiteId, UnixMillis, Verdict,
    stored::{PartitionEntry, partition_entry::Body as EntryBody},
};
use ringtail_raft::{
    Body, Channels, Committed, Floor, Group, Machine, MachineError, Peering, RaftNode, RaftOptions,
    SnapshotSink, SnapshotSource,
};
use ringtail_ring::SlotTable;
use ringtail_router::{
    Applied, Durability, EventsService, GroupRoute, RaftLeadership, RaftLog, Router, RouterOptions,
    RouterSeams, Spawning, SpoolPlace, Submission, SystemClock, TonicLink,
};
use support::{events, ring::until};
use tokio::{net::TcpListener, task::JoinHandle};
use tonic::transport::{Channel, Endpoint, Server, server::TcpIncoming};

const GROUP: GroupId = GroupId(1);

/// Counts each id once, as apply does.
#[derive(Default)]
struct Counting {
    state: Mutex<(BTreeSet<u128>, i64)>,
}

#[async_trait]
impl Machine for Counting {
    async fn floor(&self) -> Result<Floor, MachineError> {
        Ok(Floor::default())
    }

    async fn apply(&self, committed: Vec<Committed>) -> Result<Vec<Bytes>, MachineError> {
        let mut state = self.state.lock();
        let mut replies = Vec::new();
        for entry in committed {
            let Body::Command(bytes) = entry.body else {
                replies.push(Bytes::new());
                continue;
            };
            let entry = PartitionEntry::from_log(bytes).map_err(MachineError::new)?;
            assert!(entry.stamp_ms >= state.1, "the stamp fell");
            state.1 = entry.stamp_ms;
            let Some(EntryBody::Events(batch)) = entry.body else {
                panic!("events expected")
            };
            let ids = batch.sites.iter().flat_map(|site| &site.events);
            let verdicts = ids.map(|event| match state.0.insert(u128::from(event.id_low)) {
                true => Verdict::Accepted.code(),
                false => Verdict::Duplicate.code(),
            });
            replies.push(verdicts.collect());
        }
        Ok(replies)
    }

    async fn snapshot(&self) -> Result<(Floor, Box<dyn SnapshotSource>), MachineError> {
        Err(MachineError::new("the log is never purged"))
    }

    async fn receive_snapshot(&self) -> Result<Box<dyn SnapshotSink>, MachineError> {
        Err(MachineError::new("the log is never purged"))
    }
}

struct Node {
    raft: RaftNode,
    group: Group,
    machine: Arc<Counting>,
    router: Router,
    disk: FaultDisk,
    server: JoinHandle<()>,
}

#[derive(Default)]
struct Ring {
    directory: Arc<Mutex<BTreeMap<NodeId, Channel>>>,
    nodes: BTreeMap<u64, Node>,
}

impl Ring {
    async fn of_three() -> Self {
        let mut ring = Self::default();
        for node in 1..=3 {
            ring.start(node, FaultDisk::new()).await;
        }
        let first = ring.nodes[&1].group.clone();
        first.initialize_single().await.unwrap();
        first.ready().await.unwrap();
        for node in [2, 3] {
            first.add_learner(NodeId(node)).await.unwrap();
        }
        let voters = (1..=3).map(NodeId).collect();
        first.change_voters(&voters, false).await.unwrap();
        ring
    }

    async fn start(&mut self, id: u64, disk: FaultDisk) {
        let node = NodeId(id);
        let directory = Arc::clone(&self.directory);
        let channels: Channels = Arc::new(move |node| directory.lock().get(&node).cloned());
        let shared: Arc<dyn ringtail_log::Disk> = Arc::new(disk.clone());
        let (log, _) = SegmentLog::open(
            Arc::clone(&shared),
            Path::new("/log"),
            LogOptions::default(),
        )
        .unwrap();
        let peering = Peering {
            channels: Arc::clone(&channels),
            staging: None,
        };
        let raft = RaftNode::start(RaftOptions::new(node), log, peering).unwrap();
        let machine = Arc::new(Counting::default());
        let group = raft.open_group(GROUP, machine.clone()).await.unwrap();
        let clock = Arc::new(SystemClock::new());
        let peers = Arc::new(|| (1..=3).map(NodeId).collect());
        let options = RouterOptions::default();
        let link = Arc::new(TonicLink::new(
            node,
            options,
            clock.clone(),
            channels,
            peers,
        ));
        let stamps = Arc::clone(&machine);
        let stamp = Arc::new(move || UnixMillis(stamps.state.lock().1));
        let route = GroupRoute {
            group: GROUP,
            leadership: Arc::new(RaftLeadership::new(node, group.clone())),
            log: Some(Arc::new(RaftLog::new(group.clone(), stamp))),
        };
        let seams = RouterSeams {
            node,
            clock,
            leaders: link.clone(),
            copies: link,
            spool: SpoolPlace {
                disk: shared,
                directory: "/spool".into(),
            },
            spawning: Spawning::OwnArbiters(1),
        };
        let slots = SlotTable::even(1).unwrap();
        let router = Router::start(options, slots, vec![route], seams)
            .await
            .unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        // The wrong name, so that nobody keeps copies: what survives here survives on one disk.
        let events = EventsService::server(router.clone(), Arc::new(move |_| Ok(node)));
        let serving = Server::builder()
            .add_service(raft.service())
            .add_service(events)
            .serve_with_incoming(TcpIncoming::from(listener));
        let server = tokio::spawn(async move { drop(serving.await) });
        let channel = Endpoint::from_shared(format!("http://{address}")).unwrap();
        self.directory.lock().insert(node, channel.connect_lazy());
        let started = Node {
            raft,
            group,
            machine,
            router,
            disk,
            server,
        };
        self.nodes.insert(id, started);
    }

    /// The process ends without a word; its disk stays.
    async fn kill(&mut self, id: u64) -> FaultDisk {
        let node = self.nodes.remove(&id).unwrap();
        self.directory.lock().remove(&NodeId(id));
        node.server.abort();
        let disk = node.disk.lose_power(id);
        node.router.shutdown(Duration::ZERO).await;
        drop(node.raft.shutdown().await);
        disk
    }

    fn leader(&self) -> Option<u64> {
        let mut nodes = self.nodes.iter();
        nodes
            .find(|(_, node)| node.group.is_leader())
            .map(|(id, _)| *id)
    }

    fn submit(&self, node: u64, id: u128) -> JoinHandle<Answer> {
        let site = SiteId(id as u64 % 7);
        let submission = self.nodes[&node]
            .router
            .submit(site, events(id..id + 1), None);
        actix_rt::spawn(answer(id, submission.unwrap()))
    }
}

struct Answer {
    id: u128,
    durability: Option<Durability>,
    applied: Option<Applied>,
}

async fn answer(id: u128, mut submission: Submission) -> Answer {
    Answer {
        id,
        durability: submission.committed().await.ok(),
        applied: submission.applied().await.ok(),
    }
}

/// Every node has these and, of those that were not acknowledged, what it has is everywhere.
async fn settle(ring: &Ring, answers: Vec<JoinHandle<Answer>>) -> (usize, usize) {
    let (mut acknowledged, mut spooled) = (BTreeSet::new(), 0);
    let mut accepted = 0;
    for answer in answers {
        let answer = answer.await.unwrap();
        spooled += usize::from(answer.durability == Some(Durability::Spooled));
        if answer.durability.is_some() {
            acknowledged.insert(answer.id);
        }
        let is_accepted = answer.applied == Some(Applied::Verdicts(vec![Verdict::Accepted]));
        accepted += usize::from(is_accepted);
    }
    until("every node has every event", || {
        ring.nodes.values().all(|node| {
            let state = node.machine.state.lock();
            node.router.is_spool_drained() && acknowledged.is_subset(&state.0)
        })
    })
    .await;
    let counted = ring
        .nodes
        .values()
        .next()
        .unwrap()
        .machine
        .state
        .lock()
        .0
        .len();
    assert!(accepted <= counted);
    (acknowledged.len(), spooled)
}

#[actix_rt::test]
async fn a_leader_that_is_handed_over_under_load_loses_and_refuses_nothing() {
    let ring = Ring::of_three().await;
    let mut answers = Vec::new();
    for id in 0..600u128 {
        if id % 150 == 75 {
            let to = id as u64 / 150 % 3 + 1;
            if let Some(leader) = ring.leader().filter(|leader| *leader != to) {
                ring.nodes[&leader]
                    .group
                    .transfer_leader(NodeId(to))
                    .await
                    .unwrap();
            }
        }
        answers.push(ring.submit(id as u64 % 3 + 1, id));
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let (acknowledged, _) = settle(&ring, answers).await;
    assert_eq!(acknowledged, 600);
}

#[actix_rt::test]
async fn a_leader_that_dies_under_load_loses_nothing_and_nobody_else_refuses() {
    let mut ring = Ring::of_three().await;
    let leader = ring.leader().unwrap();
    let others: Vec<u64> = (1..=3).filter(|node| *node != leader).collect();
    let mut answers = Vec::new();
    let mut disk = None;
    for id in 0..600u128 {
        if id == 200 {
            disk = Some(ring.kill(leader).await);
        }
        answers.push(ring.submit(others[id as usize % 2], id));
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    ring.start(leader, disk.unwrap()).await;
    let (acknowledged, spooled) = settle(&ring, answers).await;
    assert_eq!(acknowledged, 600, "{spooled} of them were spooled");
}

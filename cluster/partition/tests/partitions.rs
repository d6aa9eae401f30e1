//! All partitions of a node over real Raft groups, the real log and the embedded store.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use std::{collections::BTreeSet, path::Path, sync::Arc};

use async_trait::async_trait;
use bytes::{Buf, Bytes};
use ringtail_checkpoint::{EmbeddedOptions, EmbeddedStore};
use ringtail_log::{LocalDisk, LogOptions, SegmentLog};
use ringtail_partition::{
    ApplyAt, ArbiterSpawner, LogSource, PartitionOptions, Partitions, Seams, SiteChange,
    SiteCondition, SiteMachine, SiteMachineError, SystemClock,
};
use ringtail_proto::{
    GroupId, LogIndex, NodeId, RowReader, RowWrite, SiteId, SiteRow, Verdict,
    stored::{EventBatch, PartitionEntry, SiteEvents, StoredEvent, partition_entry::Body},
};
use ringtail_raft::{Committed, MachineError, RaftNode, RaftOptions, read_entries};
use ringtail_ring::SlotTable;

const SITES: u64 = 40;

/// Counts events; an event without a visitor makes it panic.
struct Counter;

#[derive(Default)]
struct Count {
    index: u64,
    events: u64,
    dirty_since: Option<LogIndex>,
}

impl SiteMachine for Counter {
    type State = Count;
    type View = u64;

    fn load(&self, _: SiteId, rows: &dyn RowReader) -> Result<Count, SiteMachineError> {
        Ok(match rows.get(SiteRow::Site)? {
            None => Count::default(),
            Some(mut row) => Count {
                index: row.get_u64(),
                events: row.get_u64(),
                dirty_since: None,
            },
        })
    }

    fn applied(&self, state: &Count) -> LogIndex {
        LogIndex(state.index)
    }

    fn apply(
        &self,
        state: &mut Count,
        at: ApplyAt,
        change: SiteChange<'_>,
        _: &dyn RowReader,
    ) -> Result<Vec<Verdict>, SiteMachineError> {
        self.skip_poisoned(state, at);
        let SiteChange::Events { events, .. } = change else {
            return Ok(Vec::new());
        };
        state.events += events.events.len() as u64;
        assert!(events.events.iter().all(|event| event.visitor > 0));
        Ok(vec![Verdict::Accepted; events.events.len()])
    }

    fn skip_poisoned(&self, state: &mut Count, at: ApplyAt) {
        state.index = at.index.0;
        state.dirty_since.get_or_insert(at.index);
    }

    fn condition(&self, state: &Count) -> SiteCondition {
        SiteCondition {
            dirty_since: state.dirty_since,
            ..SiteCondition::default()
        }
    }

    fn checkpoint(
        &self,
        state: &mut Count,
        _: &dyn RowReader,
    ) -> Result<Vec<RowWrite>, SiteMachineError> {
        state.dirty_since = None;
        let bytes = [state.index.to_be_bytes(), state.events.to_be_bytes()].concat();
        Ok(vec![RowWrite {
            row: SiteRow::Site,
            value: Some(Bytes::from(bytes)),
        }])
    }

    fn view(&self, state: &Count) -> u64 {
        state.events
    }

    fn roll_up(&self, _: SiteId, _: &dyn RowReader) -> Result<Vec<RowWrite>, SiteMachineError> {
        Ok(Vec::new())
    }

    fn state_hash(&self, _: &Count, _: &dyn RowReader) -> Result<[u8; 32], SiteMachineError> {
        Ok([0; 32])
    }
}

struct RaftLog(Arc<SegmentLog>);

#[async_trait]
impl LogSource for RaftLog {
    async fn read(
        &self,
        group: GroupId,
        from: LogIndex,
        to: LogIndex,
        bytes_max: u64,
    ) -> Result<Vec<Committed>, MachineError> {
        let entries = read_entries(&self.0, group, from, to, bytes_max).await;
        entries.map_err(MachineError::new)
    }
}

struct Node {
    raft: RaftNode,
    partitions: Arc<Partitions<Counter>>,
}

impl Node {
    async fn start(directory: &Path) -> Self {
        let options = LogOptions::default();
        let (log, _) =
            SegmentLog::open(Arc::new(LocalDisk), &directory.join("log"), options).unwrap();
        let raft = RaftNode::start(RaftOptions::new(NodeId(1)), log.clone()).unwrap();
        let store = EmbeddedStore::open(&directory.join("store"), EmbeddedOptions::default());
        let seams = Seams {
            store: Arc::new(store.unwrap()),
            log: Arc::new(RaftLog(log)),
            clock: Arc::new(SystemClock::new()),
            spawner: ArbiterSpawner::new(2).unwrap(),
            node_log_bytes: Arc::default(),
        };
        let slots = SlotTable::even(4).unwrap();
        let options = PartitionOptions::default();
        let hosted: BTreeSet<_> = (1..=4).map(GroupId).collect();
        let partitions = Partitions::open(&raft, slots, hosted.clone(), Counter, seams, options)
            .await
            .unwrap();
        partitions.initialize_single(hosted).await.unwrap();
        partitions.ready().await.unwrap();
        Self { raft, partitions }
    }

    async fn submit(&self, site: u64, visitor: u64) -> Bytes {
        let event = StoredEvent {
            visitor,
            ..StoredEvent::default()
        };
        let entry = PartitionEntry {
            stamp_ms: 1_000 + visitor as i64,
            body: Some(Body::Events(EventBatch {
                sites: vec![SiteEvents {
                    site,
                    events: vec![event; 2],
                    import: None,
                }],
                ..EventBatch::default()
            })),
        };
        let group = self.partitions.slots().group_of(SiteId(site));
        let group = self.partitions.group(group).unwrap();
        let proposal = group.propose(entry.to_log()).await.unwrap();
        proposal.applied().await.unwrap().reply
    }

    async fn counts(&self) -> Vec<u64> {
        let mut counts = Vec::new();
        for site in 1..=SITES {
            counts.push(self.partitions.view(SiteId(site)).await.unwrap().view);
        }
        counts
    }

    async fn stop(self) {
        self.partitions.shutdown().await.unwrap();
        self.raft.shutdown().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_counts_restarts_and_goes_on_counting() {
    let directory = tempfile::tempdir().unwrap();
    let mut expected = vec![0; SITES as usize];
    for round in 1..=2 {
        let node = Node::start(directory.path()).await;
        assert_eq!(node.counts().await, expected);
        for site in 1..=SITES {
            assert_eq!(node.submit(site, round).await, [0, 0][..]);
            expected[site as usize - 1] += 2;
        }
        let reply = node.submit(7, 0).await;
        let poisoned = Verdict::Dropped(ringtail_proto::DropReason::Poisoned).code();
        assert_eq!(reply, [poisoned; 2][..]);
        assert_eq!(node.counts().await, expected);
        let status = node.partitions.status();
        assert_eq!(status.len(), 4);
        for partition in &status {
            assert!(partition.is_leader);
            assert_eq!(partition.active_sites, partition.dirty_sites);
        }
        let events: u64 = status.iter().map(|partition| partition.events).sum();
        assert_eq!(events, 2 * SITES + 2);
        let poisoned: u64 = status.iter().map(|group| group.poisoned_entries).sum();
        assert_eq!(poisoned, 1);
        let stamps = (1..=4).map(|group| node.partitions.stamp(GroupId(group)).unwrap().0);
        assert!(stamps.min().unwrap() >= 1_000 + round as i64);
        node.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_orderly_end_leaves_nothing_to_replay() {
    let directory = tempfile::tempdir().unwrap();
    let node = Node::start(directory.path()).await;
    for site in 1..=SITES {
        node.submit(site, 1).await;
    }
    let applied: Vec<_> = node
        .partitions
        .status()
        .iter()
        .map(|group| group.applied)
        .collect();
    node.stop().await;
    let node = Node::start(directory.path()).await;
    for (partition, before) in node.partitions.status().iter().zip(applied) {
        assert_eq!(partition.floor, before);
        assert_eq!(partition.events, 0, "an entry was replayed");
        assert!(partition.stamp.0 >= 1_001);
    }
    assert_eq!(node.counts().await, vec![2; SITES as usize]);
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_site_of_a_group_that_is_elsewhere_is_an_error() {
    let directory = tempfile::tempdir().unwrap();
    let node = Node::start(directory.path()).await;
    let error = node.partitions.stamp(GroupId(9)).unwrap_err();
    assert_eq!(error.to_string(), "group 9 is not on this node");
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shutdown_that_runs_out_of_time_lets_go_of_everything() {
    let directory = tempfile::tempdir().unwrap();
    let node = Node::start(directory.path()).await;
    for site in 1..=SITES {
        node.submit(site, 1).await;
    }
    let shutdown = node.partitions.shutdown();
    tokio::time::timeout(std::time::Duration::ZERO, shutdown)
        .await
        .unwrap_err();
    node.raft.shutdown().await.unwrap();
    let Node { raft, partitions } = node;
    drop((raft, partitions));
    let store = directory.path().join("store");
    let released = async {
        while EmbeddedStore::open(&store, EmbeddedOptions::default()).is_err() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(30), released)
        .await
        .unwrap();
    let node = Node::start(directory.path()).await;
    assert_eq!(node.counts().await, vec![2; SITES as usize]);
    node.stop().await;
}

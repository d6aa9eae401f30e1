//! A machine that counts, and nodes that run it over real groups, the real log and the embedded store.
#![allow(dead_code)]

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    sync::Arc,
    time::Duration,
};

use bytes::{Buf, Bytes};
use parking_lot::Mutex;
use ringtail_checkpoint::{EmbeddedOptions, EmbeddedStore};
use ringtail_log::{LocalDisk, LogOptions, SegmentLog};
use ringtail_partition::{
    ApplyAt, ArbiterSpawner, PartitionOptions, Partitions, Seams, SharedLog, SiteChange,
    SiteCondition, SiteMachine, SiteMachineError, SystemClock,
};
use ringtail_proto::{
    GroupId, LogIndex, NodeId, RowReader, RowWrite, SiteGeneration, SiteId, SiteRow, Verdict,
    stored::{EventBatch, PartitionEntry, SiteEvents, StoredEvent, partition_entry::Body},
};
use ringtail_raft::{Channels, Peering, RaftError, RaftNode, RaftOptions, Staging};
use ringtail_ring::SlotTable;
use tokio::{
    net::TcpListener,
    task::JoinHandle,
    time::{Instant, sleep},
};
use tokio_stream::wrappers::TcpListenerStream;
use tonic::transport::{Channel, Endpoint, Server};

pub(crate) const SITES: u64 = 40;
/// Nothing takes longer, or something is wrong.
const PATIENCE: Duration = Duration::from_secs(120);

/// Counts events; an event without a visitor makes it panic.
pub(crate) struct Counter;

#[derive(Default)]
pub(crate) struct Count {
    index: u64,
    events: u64,
    dirty_since: Option<LogIndex>,
}

impl SiteMachine for Counter {
    type State = Count;
    type View = u64;

    fn load(
        &self,
        _: SiteGeneration,
        _: &[u8],
        rows: &dyn RowReader,
    ) -> Result<Count, SiteMachineError> {
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

    fn state_hash(&self, state: &Count, _: &dyn RowReader) -> Result<[u8; 32], SiteMachineError> {
        let mut hash = [0; 32];
        hash[..8].copy_from_slice(&state.index.to_be_bytes());
        hash[8..16].copy_from_slice(&state.events.to_be_bytes());
        Ok(hash)
    }
}

/// Where nodes are.
pub(crate) type Directory = Arc<Mutex<BTreeMap<NodeId, Channel>>>;

pub(crate) struct Node {
    pub(crate) raft: RaftNode,
    pub(crate) store: Arc<EmbeddedStore>,
    pub(crate) partitions: Arc<Partitions<Counter>>,
    server: JoinHandle<()>,
}

pub(crate) fn groups() -> BTreeSet<GroupId> {
    (1..=4).map(GroupId).collect()
}

impl Node {
    /// A ring of one.
    pub(crate) async fn start(directory: &Path) -> Self {
        let options = PartitionOptions::default();
        let node = Self::start_in(&Directory::default(), 1, directory, groups(), options).await;
        node.partitions.initialize_single(groups()).await.unwrap();
        node.partitions.ready().await.unwrap();
        node
    }

    /// A node that knows others.
    pub(crate) async fn start_in(
        nodes: &Directory,
        id: u64,
        directory: &Path,
        hosted: BTreeSet<GroupId>,
        options: PartitionOptions,
    ) -> Self {
        let log_options = LogOptions::default();
        let (log, _) =
            SegmentLog::open(Arc::new(LocalDisk), &directory.join("log"), log_options).unwrap();
        let others = nodes.clone();
        let channels: Channels = Arc::new(move |node| others.lock().get(&node).cloned());
        let staging = Staging::open(Arc::new(LocalDisk), &directory.join("snapshots")).unwrap();
        let peering = Peering {
            channels,
            staging: Some(staging),
        };
        let raft = RaftNode::start(RaftOptions::new(NodeId(id)), log.clone(), peering).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let incoming = TcpListenerStream::new(listener);
        let served = Server::builder().add_service(raft.service());
        let server = tokio::spawn(async move {
            served.serve_with_incoming(incoming).await.unwrap();
        });
        let channel = Endpoint::from_shared(format!("http://{address}")).unwrap();
        nodes.lock().insert(NodeId(id), channel.connect_lazy());
        let store = EmbeddedStore::open(&directory.join("store"), EmbeddedOptions::default());
        let store = Arc::new(store.unwrap());
        let seams = Seams {
            store: store.clone(),
            log: Arc::new(SharedLog(log)),
            clock: Arc::new(SystemClock::new()),
            spawner: ArbiterSpawner::new(2).unwrap(),
            node_log_bytes: Arc::default(),
        };
        let slots = SlotTable::even(4).unwrap();
        let partitions = Partitions::open(&raft, slots, hosted, Counter, seams, options);
        Self {
            partitions: partitions.await.unwrap(),
            store,
            raft,
            server,
        }
    }

    pub(crate) async fn submit(&self, site: u64, visitor: u64) -> Bytes {
        // One that leads may not know it yet; nothing is written then.
        let patience = Instant::now() + PATIENCE;
        loop {
            match self.try_submit(site, visitor).await {
                Ok(reply) => return reply,
                Err(RaftError::NotLeader { leader: None, .. }) if Instant::now() < patience => {
                    sleep(Duration::from_millis(20)).await;
                }
                Err(error) => panic!("{error}"),
            }
        }
    }

    /// As [`Self::submit`], but it may be refused.
    pub(crate) async fn try_submit(&self, site: u64, visitor: u64) -> Result<Bytes, RaftError> {
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
        let proposal = group.propose(entry.to_log()).await?;
        Ok(proposal.applied().await?.reply)
    }

    pub(crate) async fn counts(&self) -> Vec<u64> {
        let mut counts = Vec::new();
        for site in 1..=SITES {
            counts.push(
                self.partitions
                    .view(SiteGeneration::first(SiteId(site)))
                    .await
                    .unwrap()
                    .view,
            );
        }
        counts
    }

    pub(crate) async fn stop(self) {
        self.partitions.shutdown().await.unwrap();
        self.raft.shutdown().await.unwrap();
        self.server.abort();
    }
}

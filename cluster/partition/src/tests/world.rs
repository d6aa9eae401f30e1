//! What outlives a process: the log, the store, the clock. And a process over them.

use std::{
    collections::BTreeMap,
    future::Future,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use bytes::Bytes;
use futures::future::BoxFuture;
use parking_lot::Mutex;
use ringtail_checkpoint::{CheckpointStore, MemoryStore};
use ringtail_proto::{
    GroupId, LogIndex, NodeId, SiteGeneration, SiteId, Verdict,
    stored::{
        ArchiveChange, EventBatch, GenerationCommand, Mirrored, PartitionEntry, SiteCommand,
        SiteEvents, StoredEvent, generation_command::Change as GenerationChange,
        partition_entry::Body as EntryBody,
    },
};
use ringtail_raft::{Body, Committed, LogPosition, Machine as _, MachineError};
use ringtail_ring::SlotTable;

use super::adding_machine::{ADD, AddingMachine, Sum};
use crate::{
    Clock, DutyReport, FloorSink, LocalSpawner, LogSource, PartitionError, PartitionOptions, Seams,
    ViewAt,
    apply::PartitionMachine,
    duties::Duties,
    node_state::NodeState,
    partition::Partition,
    site_actor::{Hash, View},
};

pub(super) const GROUP: GroupId = GroupId(1);

/// Runs a test on one thread: whatever it waits for, it waits for a condition.
pub(super) fn run<T>(test: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    tokio::task::LocalSet::new().block_on(&runtime, test)
}

/// One event: site, id, number, and what the machine shall do.
#[derive(Clone, Copy, Debug)]
pub(super) struct TestEvent(
    pub(super) u64,
    pub(super) u64,
    pub(super) u64,
    pub(super) u32,
);

/// An event that adds its own id.
pub(super) fn add(site: u64, id: u64) -> TestEvent {
    TestEvent(site, id, id, ADD)
}

/// A log in memory. Below the floor it keeps nothing, so that a floor that claims too much shows.
#[derive(Default)]
pub(super) struct TestLog {
    entries: Mutex<BTreeMap<u64, Committed>>,
    last: AtomicU64,
    pub(super) floor: AtomicU64,
    pub(super) reads: AtomicU64,
    /// So many reads fail.
    pub(super) failing_reads: AtomicU64,
}

#[async_trait]
impl LogSource for TestLog {
    async fn read(
        &self,
        group: GroupId,
        from: LogIndex,
        to: LogIndex,
        bytes_max: u64,
    ) -> Result<Vec<Committed>, MachineError> {
        assert_eq!(group, GROUP);
        self.reads.fetch_add(1, Ordering::Relaxed);
        if take_one(&self.failing_reads) {
            return Err(MachineError::new("told not to read"));
        }
        let entries = self.entries.lock();
        let (mut read, mut bytes) = (Vec::new(), 0);
        for index in from.0..=to.0 {
            let entry = entries.get(&index).cloned();
            let entry = entry.ok_or_else(|| MachineError::new(format!("entry {index} is gone")))?;
            if let Body::Command(command) = &entry.body {
                bytes += command.len() as u64;
            }
            if bytes > bytes_max && !read.is_empty() {
                break;
            }
            read.push(entry);
        }
        Ok(read)
    }
}

#[async_trait]
impl FloorSink for TestLog {
    async fn raise_floor(&self, floor: LogPosition) -> Result<(), MachineError> {
        let index = floor.index.0;
        assert_eq!(floor.term, term_of(index));
        assert!(self.floor.fetch_max(index, Ordering::Relaxed) < index);
        self.entries.lock().retain(|kept, _| *kept > index);
        Ok(())
    }
}

/// Counts down; true until it is zero.
pub(super) fn take_one(left: &AtomicU64) -> bool {
    let taken = left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| {
        left.checked_sub(1)
    });
    taken.is_ok()
}

/// Leaders change now and then.
fn term_of(index: u64) -> u64 {
    1 + index / 7
}

impl TestLog {
    pub(super) fn append(&self, body: Body) -> Committed {
        let index = self.last.fetch_add(1, Ordering::Relaxed) + 1;
        let position = LogPosition {
            term: term_of(index),
            node: NodeId(1),
            index: LogIndex(index),
        };
        let entry = Committed { position, body };
        self.entries.lock().insert(index, entry.clone());
        entry
    }

    /// One entry; events of one site that stand together become one slice.
    pub(super) fn append_events(&self, events: &[TestEvent]) -> Committed {
        let slices = events.chunk_by(|left, right| left.0 == right.0);
        let sites = slices
            .map(|slice| SiteEvents {
                site: slice[0].0,
                events: slice.iter().map(stored).collect(),
                import: None,
            })
            .collect();
        let batch = EventBatch {
            sites,
            ..EventBatch::default()
        };
        self.append_entry(EntryBody::Events(batch))
    }

    pub(super) fn append_command(&self, site: u64) -> Committed {
        self.append_entry(EntryBody::Site(SiteCommand { site, change: None }))
    }

    /// A change of the archive by whoever leads when the entry is appended.
    pub(super) fn append_change(&self, change: ArchiveChange) -> Committed {
        let term = term_of(self.last.load(Ordering::Relaxed) + 1);
        self.append_entry(EntryBody::Archive(ArchiveChange { term, ..change }))
    }

    pub(super) fn append_generation(&self, site: u64, change: GenerationChange) -> Committed {
        let change = Some(change);
        self.append_entry(EntryBody::Generation(GenerationCommand { site, change }))
    }

    /// The mirror has what entries up to this one changed.
    pub(super) fn append_mirrored(&self, index: u64) -> Committed {
        self.append_entry(EntryBody::Mirrored(Mirrored { index }))
    }

    fn append_entry(&self, body: EntryBody) -> Committed {
        let entry = PartitionEntry {
            stamp_ms: 1_000 + self.last.load(Ordering::Relaxed) as i64,
            body: Some(body),
        };
        self.append(Body::Command(entry.to_log()))
    }

    /// Takes over what the other log keeps.
    pub(super) fn copy(&self, other: &Self) {
        let entries = other.entries.lock().clone();
        *self.entries.lock() = entries;
        self.last
            .store(other.last.load(Ordering::Relaxed), Ordering::Relaxed);
    }

    pub(super) fn after(&self, index: u64) -> Vec<Committed> {
        let entries = self.entries.lock();
        entries
            .range(index + 1..)
            .map(|(_, entry)| entry.clone())
            .collect()
    }
}

fn stored(event: &TestEvent) -> StoredEvent {
    StoredEvent {
        id_low: event.1,
        visitor: event.2,
        engaged_ms: event.3,
        ..StoredEvent::default()
    }
}

#[derive(Default)]
pub(super) struct TestClock(pub(super) AtomicU64);

impl Clock for TestClock {
    fn monotonic_ms(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    /// Time passes at once.
    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        let ms = duration.as_millis() as u64;
        self.0.fetch_add(ms, Ordering::Relaxed);
        Box::pin(tokio::task::yield_now())
    }
}

/// What outlives a process.
#[derive(Clone)]
pub(super) struct World {
    pub(super) log: Arc<TestLog>,
    pub(super) memory: MemoryStore,
    pub(super) clock: Arc<TestClock>,
    pub(super) options: PartitionOptions,
    /// Groups that the sites are spread over.
    pub(super) groups: u32,
}

impl World {
    /// Rounds of duties do everything that could be done.
    pub(super) fn new() -> Self {
        Self {
            groups: 1,
            log: Arc::default(),
            memory: MemoryStore::new(),
            clock: Arc::default(),
            options: PartitionOptions {
                dirty_age_ms_max: 10,
                late_age_ms_max: 5,
                site_idle_ms_max: 100,
                floor_age_ms_max: 0,
                ..PartitionOptions::default()
            },
        }
    }

    pub(super) fn pass(&self, ms: u64) {
        self.clock.0.fetch_add(ms, Ordering::Relaxed);
    }

    /// Starts a process over the store in memory.
    pub(super) async fn start(&self) -> Process {
        self.start_over(Arc::new(self.memory.clone()))
            .await
            .unwrap()
    }

    /// Starts a process: opens the store, replays the log above the floor.
    pub(super) async fn start_over(
        &self,
        store: Arc<dyn CheckpointStore>,
    ) -> Result<Process, PartitionError> {
        let process = self.open(store).await?;
        let floor = process.raft.floor().await.unwrap().position;
        let floor = floor.map_or(0, |position| position.index.0);
        for run in self.log.after(floor).chunks(5) {
            process.raft.apply(run.to_vec()).await.unwrap();
        }
        Ok(process)
    }

    /// Starts a process over the store in memory that has not replayed anything yet.
    pub(super) async fn start_unapplied(&self) -> Process {
        self.open(Arc::new(self.memory.clone())).await.unwrap()
    }

    async fn open(&self, store: Arc<dyn CheckpointStore>) -> Result<Process, PartitionError> {
        let machine = Arc::new(AddingMachine::default());
        let seams = Seams {
            store,
            log: self.log.clone(),
            clock: self.clock.clone(),
            spawner: LocalSpawner::new(),
            node_log_bytes: Arc::default(),
        };
        let slots = SlotTable::even(self.groups).unwrap();
        let node = Arc::new(NodeState::new(slots, &self.options));
        let partition = Partition::open(
            GROUP,
            machine.clone(),
            seams,
            self.options.clone(),
            node.clone(),
        )?;
        let process = Process {
            raft: PartitionMachine::new(partition.clone()),
            duties: Duties::new(partition.clone(), self.log.clone()),
            machine,
            partition,
            node,
        };
        let floor = process.raft.floor().await.unwrap().position;
        let floor = floor.map_or(0, |position| position.index.0);
        assert!(
            floor >= self.log.floor.load(Ordering::Relaxed),
            "the log was given up above the floor that the store has"
        );
        Ok(process)
    }
}

/// A running partition.
pub(super) struct Process {
    pub(super) machine: Arc<AddingMachine>,
    pub(super) partition: Arc<Partition<AddingMachine>>,
    pub(super) raft: PartitionMachine<AddingMachine>,
    pub(super) duties: Duties<AddingMachine>,
    pub(super) node: Arc<NodeState>,
}

impl Process {
    /// Applies one entry; the verdicts of its events.
    pub(super) async fn apply(&self, entry: Committed) -> Vec<Verdict> {
        let replies = self.raft.apply(vec![entry]).await.unwrap();
        verdicts(&replies[0])
    }

    pub(super) async fn view(&self, site: u64) -> ViewAt<AddingMachine> {
        let view = self
            .partition
            .ask(SiteGeneration::first(SiteId(site)), View::new)
            .await
            .unwrap();
        view.unwrap()
    }

    pub(super) async fn sum(&self, site: u64) -> Sum {
        self.view(site).await.view
    }

    pub(super) async fn hash(&self, site: u64) -> [u8; 32] {
        self.hash_of(SiteGeneration::first(SiteId(site))).await
    }

    pub(super) async fn hash_of(&self, site: SiteGeneration) -> [u8; 32] {
        let hash = self.partition.ask(site, || Hash).await.unwrap();
        hash.unwrap().hash
    }

    pub(super) async fn duties(&self) -> DutyReport {
        self.duties.run_once(false).await.unwrap()
    }

    /// Ends without writing anything. Returns when nobody holds the store any more.
    pub(super) async fn kill(self) {
        let Self {
            partition,
            raft,
            duties,
            machine,
            node: _,
        } = self;
        drop((raft, duties, machine));
        partition.sites.clear();
        while Arc::strong_count(&partition) > 1 {
            tokio::task::yield_now().await;
        }
    }
}

pub(super) fn verdicts(reply: &Bytes) -> Vec<Verdict> {
    let codes = reply.iter();
    codes
        .map(|code| Verdict::from_code(*code).unwrap())
        .collect()
}

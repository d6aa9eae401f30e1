//! One partition on this node: what its actors, its machine and its duties share.

use std::sync::{
    Arc, Weak,
    atomic::{AtomicU64, Ordering},
};

use parking_lot::{Mutex, RwLock};
use ringtail_checkpoint::{CheckpointStore, GroupStore, StoreError};
use ringtail_proto::{GroupId, SiteGeneration, UnixMillis};
use ringtail_raft::LogPosition;
use ringtail_raft::spawn_blocking;
use tokio::sync::{RwLock as Gate, RwLockReadGuard as Entrance};

use crate::{
    Clock, LogSource, PartitionError, PartitionOptions, SiteError, SiteMachine, Spawner,
    capped::CappedSince, complete_generations::complete_generations, floor_row::FloorRow,
    group_history::GroupHistory, mirroring::forget_noting, node_state::NodeState,
    progress::Progress, quiet::Quiet, recent_verdicts::RecentVerdicts, roll_ups::RollUps,
    sites::Sites, verdict_book::VerdictBook,
};

/// What one partition's actors, machine and duties share.
pub(crate) struct Partition<M: SiteMachine> {
    pub(crate) group: GroupId,
    pub(crate) machine: Arc<M>,
    pub(crate) seams: Seams,
    pub(crate) options: PartitionOptions,
    pub(crate) node: Arc<NodeState>,
    pub(crate) sites: Sites<M>,
    /// Sites that have background work left.
    pub(crate) roll_ups: Mutex<RollUps>,
    pub(crate) counters: Counters,
    /// Held while entries are applied: who holds it otherwise sees all sites at one index.
    pub(crate) applying: tokio::sync::Mutex<()>,
    /// Whatever works on the rows or the sites goes in; who changes all of them at once shuts it. Only the outermost
    /// caller goes in: one that waits to shut it lets nobody else in, not even somebody who is in already.
    gate: Gate<()>,
    /// Held while a build writes rows, so that it writes none of a generation whose rows are removed.
    pub(crate) building: tokio::sync::Mutex<()>,
    /// Held while the floor is written: a lower one must not be written over a higher one.
    pub(crate) floor_turn: tokio::sync::Mutex<()>,
    rows: RwLock<Arc<dyn GroupStore>>,
    revisions: AtomicU64,
    pub(crate) progress: Mutex<Progress>,
    pub(crate) recent_verdicts: Mutex<RecentVerdicts>,
    /// Read ahead by who seals.
    pub(crate) verdict_book: Mutex<Option<VerdictBook>>,
    /// Bytes of the snapshot that is being received.
    received_bytes: Mutex<Weak<AtomicU64>>,
}

/// What a partition is given by the composition root.
#[derive(Clone)]
pub struct Seams {
    /// Where rows rest.
    pub store: Arc<dyn CheckpointStore>,
    /// The log, for rebuilding a site.
    pub log: Arc<dyn LogSource>,
    /// How old things are.
    pub clock: Arc<dyn Clock>,
    /// Where actors run.
    pub spawner: Arc<dyn Spawner>,
    /// Bytes of commands applied by all partitions of the node.
    pub node_log_bytes: Arc<AtomicU64>,
}

/// Counts since the process started.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    /// Bytes of applied commands.
    pub(crate) log_bytes: AtomicU64,
    /// Bytes of values that checkpoints and roll-ups gave to the store.
    pub(crate) value_bytes: AtomicU64,
    pub(crate) events: AtomicU64,
    pub(crate) checkpoints: AtomicU64,
    pub(crate) poisoned: AtomicU64,
}

impl<M: SiteMachine> Partition<M> {
    /// Reads the floor that the store holds.
    pub(crate) fn open(
        group: GroupId,
        machine: Arc<M>,
        seams: Seams,
        options: PartitionOptions,
        node: Arc<NodeState>,
    ) -> Result<Arc<Self>, PartitionError> {
        let rows = seams.store.group(group)?;
        let progress = read_progress(group, &*rows, options.archives)?;
        forget_noting(&*rows, options.mirrors)?;
        Ok(Arc::new(Self {
            group,
            machine,
            seams,
            options,
            node,
            sites: Sites::default(),
            roll_ups: Mutex::default(),
            counters: Counters::default(),
            applying: tokio::sync::Mutex::default(),
            gate: Gate::default(),
            building: tokio::sync::Mutex::default(),
            floor_turn: tokio::sync::Mutex::default(),
            rows: RwLock::new(rows),
            revisions: AtomicU64::new(0),
            progress: Mutex::new(progress),
            recent_verdicts: Mutex::default(),
            verdict_book: Mutex::default(),
            received_bytes: Mutex::default(),
        }))
    }

    /// The group's rows. A handle that is kept takes no batches once a snapshot has brought other rows.
    pub(crate) fn rows(&self) -> Arc<dyn GroupStore> {
        self.rows.read().clone()
    }

    /// Goes in to work on rows and sites; see the gate.
    pub(crate) async fn enter(&self) -> Result<Entrance<'_, ()>, PartitionError> {
        let entrance = self.gate.read().await;
        match self.progress.lock().is_closed {
            true => Err(PartitionError::NotHere(self.group)),
            false => Ok(entrance),
        }
    }

    /// Ends the partition's life on this node: waits until nobody works on it, then lets nobody in any more.
    pub(crate) async fn close(&self) {
        let _shut = self.gate.write().await;
        self.progress.lock().is_closed = true;
        self.sites.clear();
    }

    /// Takes over the rows that a snapshot brought. `switch` puts them in the place of the old ones; nobody works on
    /// either meanwhile.
    pub(crate) async fn take_over(
        &self,
        floor: FloorRow,
        switch: impl FnOnce() -> Result<Arc<dyn GroupStore>, StoreError> + Send + 'static,
    ) -> Result<(), PartitionError> {
        let _shut = self.gate.write().await;
        let (applied, is_closed) = {
            let progress = self.progress.lock();
            (progress.applied, progress.is_closed)
        };
        if is_closed {
            return Err(PartitionError::NotHere(self.group));
        }
        if applied > Some(floor.position) {
            return Err(self.snapshot_error(format!(
                "its floor {} is below what is applied here, {}",
                floor.position,
                applied.map_or_else(String::new, |position| position.to_string())
            )));
        }
        let (group, archives) = (self.group, self.options.archives);
        let mirrors = self.options.mirrors;
        let switched = spawn_blocking(move || {
            let rows = switch()?;
            let progress = read_progress(group, &*rows, archives)?;
            forget_noting(&*rows, mirrors)?;
            Ok::<_, PartitionError>((rows, progress))
        });
        let switched = switched.await;
        let (rows, mut switched) = switched.map_err(|_| PartitionError::Stopping(group))??;
        *self.rows.write() = rows;
        *self.verdict_book.lock() = None;
        self.recent_verdicts.lock().forget_older();
        let mut progress = self.progress.lock();
        switched.failure = progress.failure.take();
        *progress = switched;
        drop(progress);
        self.sites.clear();
        *self.roll_ups.lock() = RollUps::default();
        Ok(())
    }

    /// A snapshot begins to come; the caller counts its bytes for as long as it comes.
    pub(crate) fn begin_receiving(&self) -> Arc<AtomicU64> {
        let bytes = Arc::new(AtomicU64::new(0));
        *self.received_bytes.lock() = Arc::downgrade(&bytes);
        bytes
    }

    /// How much of a snapshot has come, while one comes.
    pub(crate) fn received_bytes(&self) -> Option<u64> {
        let bytes = self.received_bytes.lock().upgrade()?;
        Some(bytes.load(Ordering::Relaxed))
    }

    /// The state is that of some index: the log was applied from its beginning, or rows were read or received. What is
    /// not whole has nothing to tell.
    pub(crate) fn is_whole(&self) -> bool {
        self.progress.lock().applied.is_some()
    }

    /// Refuses questions that nothing can be told to.
    pub(crate) fn check_whole(&self) -> Result<(), PartitionError> {
        match self.is_whole() {
            true => Ok(()),
            false => Err(PartitionError::NotWhole(self.group)),
        }
    }

    pub(crate) fn now_ms(&self) -> u64 {
        self.seams.clock.monotonic_ms()
    }

    /// A revision of a site's rows that no site of the partition had before, whichever of its actors asks.
    pub(crate) fn next_revision(&self) -> u64 {
        self.revisions.fetch_add(1, Ordering::Relaxed)
    }

    /// The last applied entry and the highest stamp so far.
    pub(crate) fn applied(&self) -> (Option<LogPosition>, UnixMillis) {
        let progress = self.progress.lock();
        (progress.applied, progress.stamp)
    }

    /// The floor that is on disk.
    pub(crate) fn floor(&self) -> Option<FloorRow> {
        self.progress.lock().floor.clone()
    }

    pub(crate) fn failure(&self) -> Option<String> {
        self.progress.lock().failure.clone()
    }

    pub(crate) fn fail(&self, error: &PartitionError) {
        let group = self.group;
        let mut progress = self.progress.lock();
        progress.failure.get_or_insert_with(|| error.to_string());
        drop(progress);
        self.node
            .failure
            .set(|| format!("partition {group} has stopped: {error}"));
    }

    /// A store that takes no more writes does so for all partitions, until it is opened again.
    pub(crate) fn note_store_failure(&self, error: &PartitionError) {
        if let PartitionError::Store(store)
        | PartitionError::Site {
            error: SiteError::Store(store),
            ..
        } = error
            && matches!(
                store,
                StoreError::Poisoned { .. } | StoreError::RanFull { .. }
            )
        {
            self.node.failure.set(|| store.to_string());
        }
    }

    pub(crate) const fn snapshot_error(&self, message: String) -> PartitionError {
        PartitionError::Snapshot {
            group: self.group,
            message,
        }
    }

    pub(crate) fn site_error(
        &self,
        site: SiteGeneration,
        error: impl Into<crate::SiteError>,
    ) -> PartitionError {
        PartitionError::Site {
            site,
            error: error.into(),
        }
    }
}

fn read_progress(
    group: GroupId,
    rows: &dyn GroupStore,
    archives: bool,
) -> Result<Progress, PartitionError> {
    let snapshot = rows.snapshot();
    let floor = snapshot.get(&FloorRow::KEY)?;
    let floor = floor.map(|bytes| FloorRow::decode(group, bytes));
    let history = GroupHistory::load(group, &*snapshot)?;
    let complete = complete_generations(&*snapshot)?;
    let mut progress = Progress::at(floor.transpose()?, history, complete);
    let floor = progress.floor.as_ref().map(|floor| floor.position.index);
    progress.quiet = Quiet::load(snapshot.get(&Quiet::KEY)?, floor)?;
    // Without an archive what the row says has ended.
    if archives || progress.history.manifest.sealed().is_some() {
        let capped = snapshot.get(&CappedSince::KEY)?;
        let capped = capped.map(|row| CappedSince::decode(&row)).transpose()?;
        progress.capped_since = capped;
        progress.cap();
    }
    Ok(progress)
}

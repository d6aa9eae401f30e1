//! One partition on this node: what its actors, its machine and its duties share.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use bytes::Bytes;
use parking_lot::Mutex;
use ringtail_checkpoint::{CheckpointStore, GroupStore, StoreError};
use ringtail_proto::{GroupId, LogIndex, SiteId, UnixMillis};
use ringtail_raft::LogPosition;

use crate::{
    Clock, LogSource, PartitionError, PartitionOptions, SiteError, SiteMachine, Spawner,
    failure::Failure, floor_row::FloorRow, positions::Positions, sites::Sites,
};

/// What one partition's actors, machine and duties share.
pub(crate) struct Partition<M: SiteMachine> {
    pub(crate) group: GroupId,
    pub(crate) machine: Arc<M>,
    pub(crate) rows: Arc<dyn GroupStore>,
    pub(crate) seams: Seams,
    pub(crate) options: PartitionOptions,
    pub(crate) sites: Sites<M>,
    pub(crate) counters: Counters,
    revisions: AtomicU64,
    /// Shared by all partitions of the node: one that has stopped only goes on after a restart.
    node_failure: Arc<Failure>,
    progress: Mutex<Progress>,
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

/// How far the partition is.
#[derive(Debug, Default)]
struct Progress {
    applied: Option<LogPosition>,
    stamp: UnixMillis,
    membership: Option<Bytes>,
    positions: Positions,
    floor: Option<FloorRow>,
    /// Set when apply failed: nothing is applied after it.
    failure: Option<String>,
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
        node_failure: Arc<Failure>,
    ) -> Result<Arc<Self>, PartitionError> {
        let rows = seams.store.group(group)?;
        let floor = match rows.snapshot().get(&FloorRow::KEY)? {
            Some(bytes) => Some(FloorRow::decode(group, bytes)?),
            None => None,
        };
        let mut progress = Progress::default();
        if let Some(floor) = floor {
            progress.applied = Some(floor.position);
            progress.stamp = floor.stamp;
            progress.membership = floor.membership.clone();
            progress.positions.record(floor.position);
            progress.floor = Some(floor);
        }
        Ok(Arc::new(Self {
            group,
            machine,
            rows,
            seams,
            options,
            sites: Sites::default(),
            counters: Counters::default(),
            revisions: AtomicU64::new(0),
            node_failure,
            progress: Mutex::new(progress),
        }))
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
        self.node_failure
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
            self.node_failure.set(|| store.to_string());
        }
    }

    /// All sites have answered: the partition is now here.
    pub(crate) fn advance(&self, step: Step) {
        let mut progress = self.progress.lock();
        for position in step.positions {
            progress.positions.record(position);
            progress.applied = Some(position);
        }
        progress.stamp = progress.stamp.max(step.stamp);
        if step.membership.is_some() {
            progress.membership = step.membership;
        }
        drop(progress);
        self.counters
            .log_bytes
            .fetch_add(step.log_bytes, Ordering::Relaxed);
        self.counters
            .events
            .fetch_add(step.events, Ordering::Relaxed);
        self.seams
            .node_log_bytes
            .fetch_add(step.log_bytes, Ordering::Relaxed);
    }

    /// The highest floor that the rows committed so far allow: below the first entry that only memory holds.
    ///
    /// The applied index is read before the gauges: a site that becomes dirty meanwhile does so above it.
    pub(crate) fn highest_floor(&self) -> Option<FloorRow> {
        let applied = self.applied().0?.index;
        let index = match self.sites.dirty_since() {
            Some(dirty) => applied.min(LogIndex(dirty.0.saturating_sub(1))),
            None => applied,
        };
        let progress = self.progress.lock();
        Some(FloorRow {
            position: progress.positions.at(index)?,
            stamp: progress.stamp,
            membership: progress.membership.clone(),
        })
    }

    /// The floor is on disk.
    pub(crate) fn set_floor(&self, floor: FloorRow) {
        let mut progress = self.progress.lock();
        progress.positions.forget_below(floor.position.index);
        progress.floor = Some(floor);
    }

    pub(crate) fn site_error(
        &self,
        site: SiteId,
        error: impl Into<crate::SiteError>,
    ) -> PartitionError {
        PartitionError::Site {
            site,
            error: error.into(),
        }
    }
}

/// What a run of entries did to the partition.
#[derive(Debug, Default)]
pub(crate) struct Step {
    pub(crate) positions: Vec<LogPosition>,
    pub(crate) stamp: UnixMillis,
    pub(crate) membership: Option<Bytes>,
    pub(crate) log_bytes: u64,
    pub(crate) events: u64,
}

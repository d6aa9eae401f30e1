//! One partition that is open on this node: its state, its Raft group, its duties.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use parking_lot::Mutex;
use ringtail_proto::GroupId;
use ringtail_raft::spawn_blocking;
use ringtail_raft::{Group, RaftNode};
use tokio::{
    sync::{Semaphore, SemaphorePermit, watch},
    task::JoinHandle,
    time::{MissedTickBehavior, interval},
};

use crate::{
    FloorSink, PartitionError, PartitionOptions, PartitionStatus, Seams, SiteMachine,
    apply::PartitionMachine, duties::Duties, node_state::NodeState, partition::Partition,
};

/// One open partition.
pub(crate) struct Replica<M: SiteMachine> {
    pub(crate) partition: Arc<Partition<M>>,
    pub(crate) raft: Group,
    pub(crate) duties: Arc<Duties<M>>,
    questions: Semaphore,
    stop: watch::Sender<bool>,
    rounds: Mutex<Option<JoinHandle<()>>>,
}

impl<M: SiteMachine> Replica<M> {
    /// Reads the floor, replays the log above it, starts the duties.
    pub(crate) async fn open(
        raft: &RaftNode,
        group: GroupId,
        machine: Arc<M>,
        seams: &Seams,
        options: &PartitionOptions,
        node: &Arc<NodeState>,
    ) -> Result<Arc<Self>, PartitionError> {
        let partition =
            Partition::open(group, machine, seams.clone(), options.clone(), node.clone())?;
        let raft_machine = Arc::new(PartitionMachine::new(partition.clone()));
        let raft = match raft.open_group(group, raft_machine).await {
            Ok(raft) => raft,
            Err(error) => {
                // It may have applied some of its log: its actors end.
                partition.close().await;
                return Err(error.into());
            }
        };
        let floors: Arc<dyn FloorSink> = Arc::new(raft.clone());
        let duties = Arc::new(Duties::new(partition.clone(), floors));
        let (stop, stopped) = watch::channel(false);
        let round = Duration::from_millis(options.round_interval_ms.max(1));
        let rounds = tokio::spawn(run(duties.clone(), group, round, stopped));
        Ok(Arc::new(Self {
            duties,
            partition,
            raft,
            questions: Semaphore::new(options.questions_max),
            stop,
            rounds: Mutex::new(Some(rounds)),
        }))
    }

    pub(crate) fn permit(&self) -> Result<SemaphorePermit<'_>, PartitionError> {
        let permit = self.questions.try_acquire();
        permit.map_err(|_| PartitionError::Overloaded {
            group: self.partition.group,
            questions_max: self.partition.options.questions_max,
        })
    }

    /// Ends the rounds of duties after the one that is under way; the first caller gets them to wait for.
    pub(crate) fn stop_rounds(&self) -> Option<JoinHandle<()>> {
        // Only an error when they have ended.
        let _ = self.stop.send(true);
        self.rounds.lock().take()
    }

    /// Removes all rows; nobody works on them any more.
    pub(crate) async fn remove_rows(&self) -> Result<(), PartitionError> {
        let (store, group) = (self.partition.seams.store.clone(), self.partition.group);
        let removed = spawn_blocking(move || store.remove_group(group)).await;
        let removed = removed.map_err(|_| PartitionError::Stopping(group))?;
        removed.map_err(|error| {
            let error = error.into();
            self.partition.note_store_failure(&error);
            error
        })
    }

    pub(crate) fn status(&self) -> PartitionStatus {
        let partition = &self.partition;
        let (applied, stamp) = partition.applied();
        let readings = partition.sites.readings();
        let now_ms = partition.now_ms();
        let age = |since_ms: u64| now_ms.saturating_sub(since_ms);
        let dirty: Vec<_> = readings
            .iter()
            .filter(|(_, reading)| reading.dirty_since.is_some())
            .map(|(_, reading)| *reading)
            .collect();
        let count = |counter: &std::sync::atomic::AtomicU64| counter.load(Ordering::Relaxed);
        PartitionStatus {
            group: partition.group,
            is_whole: partition.is_whole(),
            received_bytes: partition.received_bytes(),
            applied: applied.map(|position| position.index),
            stamp,
            floor: partition.floor().map(|floor| floor.position.index),
            is_leader: self.raft.is_leader(),
            active_sites: readings.len(),
            dirty_sites: dirty.len(),
            failing_sites: readings
                .iter()
                .filter(|(_, reading)| reading.failures > 0)
                .count(),
            dirty_age_ms: dirty
                .iter()
                .map(|reading| age(reading.dirty_at_ms))
                .max()
                .unwrap_or_default(),
            late_age_ms: dirty
                .iter()
                .filter_map(|reading| reading.late_at_ms.map(age))
                .max()
                .unwrap_or_default(),
            log_bytes: count(&partition.counters.log_bytes),
            value_bytes: count(&partition.counters.value_bytes),
            events: count(&partition.counters.events),
            checkpoints: count(&partition.counters.checkpoints),
            poisoned_entries: count(&partition.counters.poisoned),
            failure: partition.failure(),
        }
    }
}

/// Rounds of duties until the end. A failed round is shown and repeated: the store says itself when it is beyond help.
async fn run<M: SiteMachine>(
    duties: Arc<Duties<M>>,
    group: GroupId,
    round: Duration,
    mut stopped: watch::Receiver<bool>,
) {
    let mut ticks = interval(round);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = ticks.tick() => {}
            _ = stopped.wait_for(|is_stopped| *is_stopped) => return,
        }
        if let Err(error) = duties.run_once(false).await {
            metrics::counter!("ringtail_checkpoint_round_failures_total").increment(1);
            tracing::error!(%group, %error, "checkpoint: a round of duties failed");
        }
    }
}

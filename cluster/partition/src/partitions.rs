//! All partitions of one node.

use std::{
    collections::BTreeMap,
    num::NonZeroUsize,
    sync::{Arc, atomic::Ordering},
    thread::available_parallelism,
    time::Duration,
};

use futures::{
    StreamExt as _, TryStreamExt as _,
    future::{join_all, try_join_all},
    stream,
};
use parking_lot::Mutex;
use ringtail_proto::{GroupId, SiteId, UnixMillis};
use ringtail_raft::{Group, RaftNode};
use ringtail_ring::SlotTable;
use tokio::{
    sync::{Semaphore, watch},
    task::{JoinHandle, spawn_blocking},
    time::{MissedTickBehavior, interval},
};

use crate::{
    DutyReport, FloorSink, PartitionError, PartitionOptions, PartitionStatus, Seams, SiteMachine,
    ViewAt, Written,
    apply::PartitionMachine,
    duties::Duties,
    failure::Failure,
    partition::Partition,
    site_actor::{Hash, View},
};

/// All partitions of one node: opened together, asked by site, stopped together.
pub struct Partitions<M: SiteMachine> {
    slots: SlotTable,
    partitions: BTreeMap<GroupId, Running<M>>,
    seams: Seams,
    stop: watch::Sender<bool>,
    loops: Mutex<Vec<JoinHandle<()>>>,
    failure: Arc<Failure>,
}

/// One open partition.
struct Running<M: SiteMachine> {
    partition: Arc<Partition<M>>,
    raft: Group,
    duties: Arc<Duties<M>>,
    questions: Semaphore,
}

impl<M: SiteMachine> Partitions<M> {
    /// Opens every partition of the table: reads floors, replays the log above them, starts the duties.
    ///
    /// # Errors
    /// When a floor, a row or an entry cannot be read, or Raft cannot open a group.
    pub async fn open(
        raft: &RaftNode,
        slots: SlotTable,
        machine: M,
        seams: Seams,
        options: PartitionOptions,
    ) -> Result<Arc<Self>, PartitionError> {
        let machine = Arc::new(machine);
        let groups: Vec<GroupId> = slots.partitions().into_keys().collect();
        let options = PartitionOptions {
            // The limit is the node's; sites spread evenly over partitions.
            sites_active_max: options.sites_active_max.div_ceil(groups.len().max(1)),
            ..options
        };
        let failure = Arc::<Failure>::default();
        let opening: Vec<_> = groups
            .into_iter()
            .map(|group| Running::open(raft, group, machine.clone(), &seams, &options, &failure))
            .collect();
        let at_once = available_parallelism().map_or(1, NonZeroUsize::get);
        let opened = open_all(opening, at_once).await?;
        let (stop, stopped) = watch::channel(false);
        let round = Duration::from_millis(options.round_interval_ms.max(1));
        let loops = opened
            .iter()
            .map(|running| tokio::spawn(running.run(round, stopped.clone())))
            .collect();
        Ok(Arc::new(Self {
            slots,
            partitions: opened
                .into_iter()
                .map(|running| (running.partition.group, running))
                .collect(),
            seams,
            stop,
            loops: Mutex::new(loops),
            failure,
        }))
    }

    /// The table from sites to partitions.
    #[must_use]
    pub const fn slots(&self) -> &SlotTable {
        &self.slots
    }

    /// The Raft group of a partition.
    ///
    /// # Errors
    /// When the partition is not on this node.
    pub fn group(&self, group: GroupId) -> Result<&Group, PartitionError> {
        Ok(&self.running(group)?.raft)
    }

    /// The highest stamp that a partition has applied: the next leader's stamps must not fall behind it.
    ///
    /// # Errors
    /// When the partition is not on this node.
    pub fn stamp(&self, group: GroupId) -> Result<UnixMillis, PartitionError> {
        Ok(self.running(group)?.partition.applied().1)
    }

    /// Makes this node the only member of every group that has none yet: the birth of a ring of one.
    ///
    /// # Errors
    /// When a group has stopped.
    pub async fn initialize_single(&self) -> Result<(), PartitionError> {
        for running in self.partitions.values() {
            running.raft.initialize_single().await?;
        }
        Ok(())
    }

    /// Waits until every group has a leader and has applied what was committed before.
    ///
    /// # Errors
    /// When a group has stopped.
    pub async fn ready(&self) -> Result<(), PartitionError> {
        try_join_all(self.partitions.values().map(|running| running.raft.ready())).await?;
        Ok(())
    }

    /// A handle on a site's state and its rows, both of one moment.
    ///
    /// # Errors
    /// [`PartitionError::Overloaded`] when too many questions wait; others when the site cannot be loaded.
    pub async fn view(&self, site: SiteId) -> Result<ViewAt<M>, PartitionError> {
        let running = self.of(site)?;
        let partition = &running.partition;
        let _permit = running.permit()?;
        let view = partition.ask(site, View::<M>::new).await?;
        view.map_err(|error| partition.site_error(site, error))
    }

    /// Writes a site's state now and merges its late events: what is applied before the call is in rows and pages
    /// after it.
    ///
    /// # Errors
    /// When the store does not take it; the state is kept.
    pub async fn checkpoint_site(&self, site: SiteId) -> Result<Written, PartitionError> {
        self.of(site)?.partition.checkpoint_site(site).await
    }

    /// The canonical hash of a site's state.
    ///
    /// # Errors
    /// When the site cannot be loaded.
    pub async fn state_hash(&self, site: SiteId) -> Result<[u8; 32], PartitionError> {
        let partition = &self.of(site)?.partition;
        let hash = partition.ask(site, || Hash).await?;
        hash.map_err(|error| partition.site_error(site, error))
    }

    /// Runs one round of duties of every partition now.
    ///
    /// # Errors
    /// When the store or a group failed.
    pub async fn run_duties(&self) -> Result<Vec<DutyReport>, PartitionError> {
        self.rounds(false).await
    }

    /// How the partitions are, by group.
    #[must_use]
    pub fn status(&self) -> Vec<PartitionStatus> {
        self.partitions.values().map(Running::status).collect()
    }

    /// Resolves with the reason when a partition has stopped or the store takes no more writes: only a restart heals
    /// that. While all is well it never does.
    pub async fn failed(&self) -> String {
        self.failure.wait().await
    }

    /// Ends the duties, writes every dirty site, raises all floors, ends all actors. Call it when nothing is proposed
    /// any more and before Raft is shut down.
    ///
    /// May be given a deadline: when the caller stops waiting, duties and actors end without writing the rest.
    ///
    /// # Errors
    /// When something could not be written; it is still in the log.
    pub async fn shutdown(&self) -> Result<(), PartitionError> {
        // Only an error when no loop listens.
        let _ = self.stop.send(true);
        let mut ending = Ending {
            partitions: Some(self),
            loops: std::mem::take(&mut *self.loops.lock()),
        };
        for running in &mut ending.loops {
            if let Err(error) = running.await {
                tracing::error!(%error, "checkpoint: the duties of a partition failed");
            }
        }
        let result = self.rounds(true).await;
        ending.partitions = None;
        if self.end_actors().await.is_err() {
            tracing::error!("aggregate: the actors' threads could not be stopped");
        }
        result.map(drop)
    }

    /// Ends all actors; ready once their threads are gone.
    fn end_actors(&self) -> JoinHandle<()> {
        for running in self.partitions.values() {
            running.partition.sites.clear();
        }
        let spawner = self.seams.spawner.clone();
        spawn_blocking(move || spawner.stop())
    }

    async fn rounds(&self, is_shutdown: bool) -> Result<Vec<DutyReport>, PartitionError> {
        let rounds = self
            .partitions
            .values()
            .map(|running| running.duties.run_once(is_shutdown));
        // All of them end, whatever becomes of the others.
        join_all(rounds).await.into_iter().collect()
    }

    fn of(&self, site: SiteId) -> Result<&Running<M>, PartitionError> {
        self.running(self.slots.group_of(site))
    }

    fn running(&self, group: GroupId) -> Result<&Running<M>, PartitionError> {
        let running = self.partitions.get(&group);
        running.ok_or(PartitionError::NoSuchGroup(group))
    }
}

/// Opens a few at a time: each replays its log, and what lies in memory for that is bounded.
async fn open_all<T, E>(
    opening: Vec<impl Future<Output = Result<T, E>>>,
    at_once: usize,
) -> Result<Vec<T>, E> {
    let opened = stream::iter(opening).buffer_unordered(at_once);
    opened.try_collect().await
}

/// Ends duties and actors when nobody waits for their orderly end any more.
struct Ending<'a, M: SiteMachine> {
    /// None once the orderly end is there.
    partitions: Option<&'a Partitions<M>>,
    loops: Vec<JoinHandle<()>>,
}

impl<M: SiteMachine> Drop for Ending<'_, M> {
    fn drop(&mut self) {
        let Some(partitions) = self.partitions else {
            return;
        };
        tracing::warn!("checkpoint: ending without writing all sites; the log has them");
        for running in &self.loops {
            running.abort();
        }
        // Nobody waits for the threads: they end by themselves.
        drop(partitions.end_actors());
    }
}

impl<M: SiteMachine> Running<M> {
    async fn open(
        raft: &RaftNode,
        group: GroupId,
        machine: Arc<M>,
        seams: &Seams,
        options: &PartitionOptions,
        failure: &Arc<Failure>,
    ) -> Result<Self, PartitionError> {
        let partition = Partition::open(
            group,
            machine,
            seams.clone(),
            options.clone(),
            failure.clone(),
        )?;
        let raft_machine = Arc::new(PartitionMachine::new(partition.clone()));
        let raft = raft.open_group(group, raft_machine).await?;
        let floors: Arc<dyn FloorSink> = Arc::new(raft.clone());
        Ok(Self {
            duties: Arc::new(Duties::new(partition.clone(), floors)),
            partition,
            raft,
            questions: Semaphore::new(options.questions_max),
        })
    }

    fn permit(&self) -> Result<tokio::sync::SemaphorePermit<'_>, PartitionError> {
        let permit = self.questions.try_acquire();
        permit.map_err(|_| PartitionError::Overloaded {
            group: self.partition.group,
            questions_max: self.partition.options.questions_max,
        })
    }

    /// Rounds of duties until the end. A failed round is shown and repeated: the store says itself when it is beyond
    /// help.
    fn run(
        &self,
        round: Duration,
        mut stopped: watch::Receiver<bool>,
    ) -> impl Future<Output = ()> + Send + 'static {
        let duties = self.duties.clone();
        let group = self.partition.group;
        async move {
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
    }

    fn status(&self) -> PartitionStatus {
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

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;

    use super::*;

    #[tokio::test]
    async fn only_so_many_groups_are_opened_at_once_and_one_failure_fails_all() {
        let (open, most) = (AtomicUsize::new(0), AtomicUsize::new(0));
        let (open, most) = (&open, &most);
        let opening = |number: usize| async move {
            most.fetch_max(open.fetch_add(1, Ordering::Relaxed) + 1, Ordering::Relaxed);
            tokio::task::yield_now().await;
            open.fetch_sub(1, Ordering::Relaxed);
            if number == 16 {
                Err(number)
            } else {
                Ok(number)
            }
        };
        let mut opened = open_all((0..16).map(opening).collect(), 3).await;
        if let Ok(opened) = &mut opened {
            opened.sort_unstable();
        }
        assert_eq!(opened, Ok((0..16).collect()));
        assert_eq!(most.load(Ordering::Relaxed), 3);
        assert_eq!(open_all(vec![opening(16)], 3).await, Err(16));
    }
}

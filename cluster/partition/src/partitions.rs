//! All partitions of one node.

use std::{collections::BTreeSet, num::NonZeroUsize, sync::Arc, thread::available_parallelism};

use futures::{
    StreamExt as _, TryStreamExt as _,
    future::{join_all, try_join_all},
    stream,
};
use parking_lot::RwLock;
use ringtail_proto::{GroupId, SiteGeneration, SiteId, UnixMillis};
use ringtail_raft::spawn_blocking;
use ringtail_raft::{Group, RaftNode};
use ringtail_ring::SlotTable;
use tokio::task::JoinHandle;

use crate::{
    DutyReport, PartitionError, PartitionOptions, PartitionStatus, Seams, SiteHashes, SiteMachine,
    ViewAt, Written,
    node_state::NodeState,
    places::Places,
    replica::Replica,
    site_actor::{Hash, View},
};

/// All partitions of one node: opened and closed while it runs, asked by site, stopped together.
pub struct Partitions<M: SiteMachine> {
    pub(crate) machine: Arc<M>,
    pub(crate) seams: Seams,
    pub(crate) options: PartitionOptions,
    pub(crate) node: Arc<NodeState>,
    pub(crate) places: RwLock<Places<M>>,
}

impl<M: SiteMachine> Partitions<M> {
    /// Opens the partitions that this node hosts: reads floors, replays the logs above them, starts the duties.
    ///
    /// # Errors
    /// When a floor, a row or an entry cannot be read, or Raft cannot open a group.
    pub async fn open(
        raft: &RaftNode,
        slots: SlotTable,
        hosted: BTreeSet<GroupId>,
        machine: M,
        seams: Seams,
        options: PartitionOptions,
    ) -> Result<Arc<Self>, PartitionError> {
        let node = Arc::new(NodeState::new(slots, &options));
        let partitions = Arc::new(Self {
            machine: Arc::new(machine),
            seams,
            options,
            node,
            places: RwLock::default(),
        });
        let opening = hosted
            .into_iter()
            .map(|group| partitions.open_replica(raft, group))
            .collect();
        let at_once = available_parallelism().map_or(1, NonZeroUsize::get);
        open_all(opening, at_once).await?;
        Ok(partitions)
    }

    /// The partitions that are open here.
    #[must_use]
    pub fn hosted(&self) -> BTreeSet<GroupId> {
        let replicas = self.replicas();
        replicas
            .iter()
            .map(|replica| replica.partition.group)
            .collect()
    }

    /// The table from sites to partitions.
    #[must_use]
    pub fn slots(&self) -> &SlotTable {
        &self.node.slots
    }

    /// The Raft group of a partition.
    ///
    /// # Errors
    /// When the partition is not on this node.
    pub fn group(&self, group: GroupId) -> Result<Group, PartitionError> {
        Ok(self.replica(group)?.raft.clone())
    }

    /// The highest stamp that a partition has applied: the next leader's stamps must not fall behind it.
    ///
    /// # Errors
    /// When the partition is not on this node.
    pub fn stamp(&self, group: GroupId) -> Result<UnixMillis, PartitionError> {
        Ok(self.replica(group)?.partition.applied().1)
    }

    /// Makes this node the only member of these groups, of those that have no member yet: the birth of a ring of one.
    ///
    /// # Errors
    /// When a partition is not on this node or its group has stopped.
    pub async fn initialize_single(
        &self,
        groups: impl IntoIterator<Item = GroupId>,
    ) -> Result<(), PartitionError> {
        for group in groups {
            self.group(group)?.initialize_single().await?;
        }
        Ok(())
    }

    /// Waits until every group that is open now has a leader and has applied what was committed before.
    ///
    /// # Errors
    /// When a group has stopped.
    pub async fn ready(&self) -> Result<(), PartitionError> {
        let replicas = self.replicas();
        try_join_all(replicas.iter().map(|replica| replica.raft.ready())).await?;
        Ok(())
    }

    /// A handle on the state of a site's generation and its rows, both of one moment.
    ///
    /// # Errors
    /// [`PartitionError::NotHere`], [`PartitionError::NotWhole`] and [`PartitionError::NotBuilt`] when another node has to
    /// be asked,
    /// [`PartitionError::Overloaded`] when too many questions wait; others when the site cannot be loaded.
    pub async fn view(&self, site: SiteGeneration) -> Result<ViewAt<M>, PartitionError> {
        let replica = self.of(site.site)?;
        let partition = &replica.partition;
        let _permit = replica.permit()?;
        let _entrance = partition.enter().await?;
        partition.check_whole()?;
        partition.check_fed(site)?;
        let view = partition.ask(site, View::<M>::new).await?;
        view.map_err(|error| partition.site_error(site, error))
    }

    /// Writes a site's state now and merges its late events: what is applied before the call is in rows and pages
    /// after it.
    ///
    /// # Errors
    /// When the store does not take it; the state is kept.
    pub async fn checkpoint_site(&self, site: SiteId) -> Result<Written, PartitionError> {
        let partition = &self.of(site)?.partition;
        let _entrance = partition.enter().await?;
        let mut all = Written::default();
        for site in partition.feeds().of(site) {
            all.add(partition.checkpoint_site(site).await?);
        }
        Ok(all)
    }

    /// The canonical hash of the state of a site's generation.
    ///
    /// # Errors
    /// When the site cannot be loaded.
    pub async fn state_hash(&self, site: SiteGeneration) -> Result<[u8; 32], PartitionError> {
        let partition = &self.of(site.site)?.partition;
        let _entrance = partition.enter().await?;
        partition.check_whole()?;
        partition.check_fed(site)?;
        let hash = partition.ask(site, || Hash).await?;
        let hash = hash.map_err(|error| partition.site_error(site, error))?;
        Ok(hash.hash)
    }

    /// The canonical hashes of all sites of a partition at one index; nothing is applied meanwhile. Replicas at the same
    /// index answer the same.
    ///
    /// # Errors
    /// When the partition is not here or not whole, or a site cannot be loaded.
    pub async fn site_hashes(&self, group: GroupId) -> Result<SiteHashes, PartitionError> {
        self.replica(group)?.partition.site_hashes().await
    }

    /// Runs one round of duties of every partition now.
    ///
    /// # Errors
    /// When the store or a group failed.
    pub async fn run_duties(&self) -> Result<Vec<DutyReport>, PartitionError> {
        rounds(&self.replicas(), false).await
    }

    /// How the partitions are, by group.
    #[must_use]
    pub fn status(&self) -> Vec<PartitionStatus> {
        let replicas = self.replicas();
        replicas.iter().map(|replica| replica.status()).collect()
    }

    /// Resolves with the reason when a partition has stopped or the store takes no more writes: only a restart heals
    /// that. While all is well it never does.
    pub async fn failed(&self) -> String {
        self.node.failure.wait().await
    }

    /// Ends the duties, writes every dirty site, raises all floors, ends all actors. Call it when nothing is proposed
    /// any more and before Raft is shut down.
    ///
    /// May be given a deadline: when the caller stops waiting, duties and actors end without writing the rest.
    ///
    /// # Errors
    /// When something could not be written; it is still in the log.
    pub async fn shutdown(&self) -> Result<(), PartitionError> {
        self.places.write().is_stopping = true;
        let replicas = self.replicas();
        let stopped = replicas.iter().filter_map(|replica| replica.stop_rounds());
        let mut ending = Ending {
            partitions: Some(self),
            loops: stopped.collect(),
        };
        for running in &mut ending.loops {
            if let Err(error) = running.await {
                tracing::error!(%error, "checkpoint: the duties of a partition failed");
            }
        }
        let result = rounds(&replicas, true).await;
        ending.partitions = None;
        if self.end_actors().await.is_err() {
            tracing::error!("aggregate: the actors' threads could not be stopped");
        }
        result.map(drop)
    }

    /// Ends all actors; ready once their threads are gone.
    fn end_actors(&self) -> JoinHandle<()> {
        for replica in self.replicas() {
            replica.partition.sites.clear();
        }
        let spawner = self.seams.spawner.clone();
        spawn_blocking(move || spawner.stop())
    }

    pub(crate) fn of(&self, site: SiteId) -> Result<Arc<Replica<M>>, PartitionError> {
        self.replica(self.node.slots.group_of(site))
    }
}

async fn rounds<M: SiteMachine>(
    replicas: &[Arc<Replica<M>>],
    is_shutdown: bool,
) -> Result<Vec<DutyReport>, PartitionError> {
    let rounds = replicas
        .iter()
        .map(|replica| replica.duties.run_once(is_shutdown));
    // All of them end, whatever becomes of the others.
    join_all(rounds).await.into_iter().collect()
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

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

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

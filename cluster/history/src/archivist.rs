//! Seals what groups led here have settled, fetches what other leaders sealed, and keeps the archive in order.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use futures::{StreamExt as _, stream};
use parking_lot::Mutex;
use ringtail_archive::Archive;
use ringtail_partition::{ArchiveState, Partitions, SiteMachine};
use ringtail_proto::GroupId;
use tokio::{
    sync::Semaphore,
    task::{AbortHandle, JoinSet},
    time::{MissedTickBehavior, interval},
};

use crate::{
    HistoryError, HistoryOptions, ObjectPeers,
    room::{Need, Room},
    work::GroupWork,
};

/// Carries the past of this node's groups into the archive.
pub struct Archivist<M: SiteMachine> {
    pub(crate) partitions: Arc<Partitions<M>>,
    pub(crate) archive: Arc<Archive>,
    pub(crate) peers: Arc<dyn ObjectPeers>,
    pub(crate) options: HistoryOptions,
    room: Option<Room>,
    /// One merge at a time: it holds all of its objects in memory.
    pub(crate) merging: Semaphore,
    /// Objects that are here and are not what they should be, by path.
    pub(crate) damaged: Mutex<BTreeSet<Bytes>>,
    works: Mutex<BTreeMap<GroupId, Arc<tokio::sync::Mutex<GroupWork>>>>,
}

/// What a round did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ArchiveRound {
    /// Seals that hold.
    pub seals: usize,
    /// Objects fetched from peers, or made again from the log.
    pub copies: usize,
    /// Merges that hold.
    pub merges: usize,
    /// Objects deleted that nobody names.
    pub deletes: usize,
    /// Groups whose history could not be carried on; they are tried again.
    pub failures: usize,
}

impl ArchiveRound {
    const fn add(&mut self, other: Self) {
        self.seals += other.seals;
        self.copies += other.copies;
        self.merges += other.merges;
        self.deletes += other.deletes;
        self.failures += other.failures;
    }
}

impl<M: SiteMachine> Archivist<M> {
    /// Over the partitions of this node. `peers` give objects where each node has an archive of its own.
    #[must_use]
    pub fn new(
        partitions: Arc<Partitions<M>>,
        archive: Arc<Archive>,
        peers: Arc<dyn ObjectPeers>,
        options: HistoryOptions,
    ) -> Self {
        Self {
            partitions,
            archive,
            peers,
            options,
            room: None,
            merging: Semaphore::new(1),
            damaged: Mutex::default(),
            works: Mutex::default(),
        }
    }

    /// Where archive and log share a disk: see [`Room`].
    #[must_use]
    pub fn with_room(mut self, room: Room) -> Self {
        self.room = Some(room);
        self
    }

    pub(crate) fn check_room(&self, need: Need, bytes: u64) -> Result<(), HistoryError> {
        let room = self.room.as_ref();
        room.map_or(Ok(()), |room| room.check(need, bytes))
    }

    /// Rounds of each group until it is aborted: one that waits for others holds up no other.
    pub async fn run(self: Arc<Self>) {
        let mut ticks = interval(Duration::from_millis(self.options.round_interval_ms.max(1)));
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let turns = Arc::new(Semaphore::new(self.options.groups_at_once_max.max(1)));
        let mut rounds = JoinSet::new();
        let mut running: BTreeMap<GroupId, AbortHandle> = BTreeMap::new();
        loop {
            ticks.tick().await;
            while rounds.try_join_next().is_some() {}
            running.retain(|_, round| !round.is_finished());
            for group in self.groups() {
                running.entry(group).or_insert_with(|| {
                    let (archivist, turns) = (Arc::clone(&self), Arc::clone(&turns));
                    rounds.spawn(async move {
                        let _turn = turns.acquire().await;
                        archivist.round(group, false).await;
                    })
                });
            }
        }
    }

    /// One round over all groups of this node, a few at once. With `now`, whatever is settled is sealed, little as it may be.
    pub async fn run_once(&self, now: bool) -> ArchiveRound {
        let rounds = stream::iter(self.groups()).map(|group| self.round(group, now));
        let at_once = self.options.groups_at_once_max.max(1);
        let mut rounds = std::pin::pin!(rounds.buffer_unordered(at_once));
        let mut all = ArchiveRound::default();
        while let Some(round) = rounds.next().await {
            all.add(round);
        }
        all
    }

    /// The groups of this node; the work of others is forgotten.
    fn groups(&self) -> BTreeSet<GroupId> {
        let groups = self.partitions.hosted();
        self.works.lock().retain(|group, _| groups.contains(group));
        groups
    }

    async fn round(&self, group: GroupId, now: bool) -> ArchiveRound {
        let mut round = ArchiveRound::default();
        let work = self.work(group);
        let mut work = work.lock().await;
        if let Err(error) = self.look_after(group, now, &mut work, &mut round).await {
            round.failures += 1;
            metrics::counter!("ringtail_archive_failures_total").increment(1);
            tracing::warn!(%group, %error, "archive: history waits");
        }
        round
    }

    pub(crate) fn work(&self, group: GroupId) -> Arc<tokio::sync::Mutex<GroupWork>> {
        Arc::clone(self.works.lock().entry(group).or_default())
    }

    async fn look_after(
        &self,
        group: GroupId,
        now: bool,
        work: &mut GroupWork,
        round: &mut ArchiveRound,
    ) -> Result<(), HistoryError> {
        // What cannot be fetched must not keep what is here from being sealed, and neither must hold up the rest.
        let fetched = self.fetch_missing(group, work, round).await;
        let state = self.partitions.archive_state(group)?;
        self.show(group, &state);
        let sealed = match state.leading_term {
            Some(term) => self.seal_due(group, term, now, work, round).await,
            None => Ok(()),
        };
        let merged = match state.leading_term {
            Some(term) => self.merge_due(group, term, work, round).await,
            None => Ok(()),
        };
        let cleaned = self.clean(group, state.leading_term, work, round).await;
        fetched.and(sealed).and(merged).and(cleaned)
    }

    fn show(&self, group: GroupId, state: &ArchiveState) {
        let settled = state.settled.unwrap_or_default().0;
        let sealed = state.sealed.unwrap_or_default().0;
        let lag = match state.is_ripe() {
            true => settled.saturating_sub(sealed),
            false => 0,
        };
        let group = group.to_string();
        metrics::gauge!("ringtail_archive_unsealed_entries", "group" => group).set(lag as f64);
    }
}

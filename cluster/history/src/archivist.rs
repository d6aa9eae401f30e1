//! Seals what groups led here have settled, and fetches what other leaders sealed.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use parking_lot::Mutex;
use ringtail_archive::Archive;
use ringtail_partition::{ArchiveState, Partitions, SiteMachine};
use ringtail_proto::{
    GroupId,
    stored::{ArchiveChange, ArchiveObject},
};
use ringtail_raft::spawn_blocking;
use tokio::time::{MissedTickBehavior, interval, timeout};

use crate::{HistoryError, HistoryOptions, ObjectPeers, seal};

/// A change that is not applied by then is given up; whether it holds shows in the next round.
const CHANGE_WAIT_MAX: Duration = Duration::from_secs(30);

/// Carries the past of this node's groups into the archive.
pub struct Archivist<M: SiteMachine> {
    partitions: Arc<Partitions<M>>,
    archive: Arc<Archive>,
    peers: Arc<dyn ObjectPeers>,
    options: HistoryOptions,
    /// Groups of which something waits to be sealed: since when, and the log's bytes by then.
    waiting: Mutex<BTreeMap<GroupId, (Instant, u64)>>,
}

/// What a round did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ArchiveRound {
    /// Seals that hold.
    pub seals: usize,
    /// Objects fetched from peers.
    pub copies: usize,
    /// Groups whose history could not be carried on; they are tried again.
    pub failures: usize,
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
            waiting: Mutex::default(),
        }
    }

    /// Rounds until it is aborted.
    pub async fn run(self: Arc<Self>) {
        let mut ticks = interval(Duration::from_millis(self.options.round_interval_ms.max(1)));
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            self.run_once(false).await;
        }
    }

    /// One round over all groups of this node. With `now`, whatever is settled is sealed, little as it may be.
    pub async fn run_once(&self, now: bool) -> ArchiveRound {
        let mut round = ArchiveRound::default();
        for group in self.partitions.hosted() {
            if let Err(error) = self.look_after(group, now, &mut round).await {
                round.failures += 1;
                metrics::counter!("ringtail_archive_failures_total").increment(1);
                tracing::warn!(%group, %error, "archive: history waits");
            }
        }
        round
    }

    async fn look_after(
        &self,
        group: GroupId,
        now: bool,
        round: &mut ArchiveRound,
    ) -> Result<(), HistoryError> {
        // What cannot be fetched must not keep what is here from being sealed.
        let fetched = self.fetch_missing(group, round).await;
        let state = self.partitions.archive_state(group)?;
        self.show(group, &state);
        if let Some(term) = state.leading_term {
            while self.is_due(group, now)? && self.seal(group, term).await? {
                round.seals += 1;
            }
        }
        fetched
    }

    fn is_due(&self, group: GroupId, now: bool) -> Result<bool, HistoryError> {
        let state = self.partitions.archive_state(group)?;
        let mut waiting = self.waiting.lock();
        if !state.is_ripe() {
            waiting.remove(&group);
            return Ok(false);
        }
        let (since, log_bytes) = *waiting
            .entry(group)
            .or_insert((Instant::now(), state.log_bytes));
        let age_max = Duration::from_millis(self.options.seal_age_ms_max);
        Ok(now
            || since.elapsed() >= age_max
            || state.log_bytes.saturating_sub(log_bytes) >= self.options.seal_log_bytes_max)
    }

    /// True when a seal holds.
    async fn seal(&self, group: GroupId, term: u64) -> Result<bool, HistoryError> {
        let bytes_max = self.options.seal_bytes_max;
        let Some(unsealed) = self.partitions.unsealed(group, bytes_max).await? else {
            return Ok(false);
        };
        let begun = Instant::now();
        let last = unsealed.seal.index;
        let built = spawn_blocking(move || {
            let objects = seal::build(group, &unsealed);
            objects.map(|objects| (unsealed.seal, objects))
        });
        let (seal, objects) = built.await.map_err(|_| HistoryError::Stopping)??;
        let rows: u64 = objects.iter().map(|built| built.object.rows).sum();
        let bytes: u64 = objects.iter().map(|built| built.object.bytes).sum();
        for object in &objects {
            self.archive.put(object).await?;
        }
        let added: Vec<ArchiveObject> = objects.into_iter().map(|built| built.object).collect();
        let paths: Vec<Bytes> = added.iter().map(|object| object.path.clone()).collect();
        let change = ArchiveChange {
            seal: Some(seal),
            added,
            removed: Vec::new(),
            term,
        };
        let changed = self.partitions.change_archive(group, change);
        let changed = timeout(CHANGE_WAIT_MAX, changed).await;
        let holds = changed.map_err(|_| HistoryError::Undecided { group })??;
        self.waiting.lock().remove(&group);
        if holds {
            self.partitions.note_held(group, &paths)?;
            metrics::counter!("ringtail_archive_seals_total").increment(1);
            metrics::counter!("ringtail_archive_rows_total").increment(rows);
            metrics::counter!("ringtail_archive_bytes_total").increment(bytes);
        }
        let took_ms = begun.elapsed().as_millis() as u64;
        tracing::info!(%group, last, rows, bytes, took_ms, holds, "archive: sealed");
        Ok(holds)
    }

    /// Where each node has an archive of its own, what others sealed is fetched; only then the log may go.
    async fn fetch_missing(
        &self,
        group: GroupId,
        round: &mut ArchiveRound,
    ) -> Result<(), HistoryError> {
        let mut failed = Ok(());
        for object in self.partitions.unheld(group)? {
            let held = self.hold(group, &object).await;
            match held {
                Ok(copies) => {
                    round.copies += copies;
                    self.partitions
                        .note_held(group, std::slice::from_ref(&object.path))?;
                }
                Err(error) => failed = Err(error),
            }
        }
        failed
    }

    /// Sees to it that an object is here; returns how many had to be copied for that.
    async fn hold(&self, group: GroupId, object: &ArchiveObject) -> Result<usize, HistoryError> {
        if self.archive.holds(object).await? {
            return Ok(0);
        }
        self.copy(group, object).await?;
        Ok(1)
    }

    async fn copy(&self, group: GroupId, object: &ArchiveObject) -> Result<(), HistoryError> {
        let mut message = "there is none".to_owned();
        for node in self.peers.nodes() {
            let stream = match self.peers.fetch(node, object).await {
                Ok(stream) => stream,
                Err(error) => {
                    message = format!("node {node}: {error}");
                    continue;
                }
            };
            match self.archive.copy_in(object, stream).await {
                Ok(()) => {
                    metrics::counter!("ringtail_archive_copied_bytes_total")
                        .increment(object.bytes);
                    return Ok(());
                }
                Err(error) => message = format!("node {node}: {error}"),
            }
        }
        Err(HistoryError::NoPeer {
            group,
            path: String::from_utf8_lossy(&object.path).into_owned(),
            message,
        })
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

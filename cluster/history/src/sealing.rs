//! A leader's seals, and how a change of the archive comes into force.

use std::time::{Duration, Instant};

use bytes::Bytes;
use ringtail_archive::BuiltObject;
use ringtail_partition::{SealLimits, SiteMachine};
use ringtail_proto::{
    GroupId,
    stored::{ArchiveChange, ArchiveObject, Seal},
};
use ringtail_raft::spawn_blocking;
use tokio::time::timeout;

use crate::{Archivist, HistoryError, archivist::ArchiveRound, room::Need, seal, work::GroupWork};

/// A change that is not applied by then is given up; whether it holds shows in the next round.
const CHANGE_WAIT_MAX: Duration = Duration::from_secs(30);

/// What a leader wants to become of the archive.
#[derive(Default)]
pub(crate) struct Change {
    pub(crate) seal: Option<Seal>,
    pub(crate) built: Vec<BuiltObject>,
    /// By path.
    pub(crate) removed: Vec<Bytes>,
}

impl<M: SiteMachine> Archivist<M> {
    /// Seals as long as a seal is due.
    pub(crate) async fn seal_due(
        &self,
        group: GroupId,
        term: u64,
        now: bool,
        work: &mut GroupWork,
        round: &mut ArchiveRound,
    ) -> Result<(), HistoryError> {
        while self.is_due(group, now, work)? && self.seal(group, term).await? {
            work.waiting = None;
            round.seals += 1;
        }
        Ok(())
    }

    fn is_due(
        &self,
        group: GroupId,
        now: bool,
        work: &mut GroupWork,
    ) -> Result<bool, HistoryError> {
        let state = self.partitions.archive_state(group)?;
        if !state.is_ripe() {
            work.waiting = None;
            return Ok(false);
        }
        let waiting = work
            .waiting
            .get_or_insert((Instant::now(), state.log_bytes));
        let (since, log_bytes) = *waiting;
        let age_max = Duration::from_millis(self.options.seal_age_ms_max);
        Ok(now
            || since.elapsed() >= age_max
            || state.log_bytes.saturating_sub(log_bytes) >= self.options.seal_log_bytes_max)
    }

    pub(crate) const fn seal_limits(&self) -> SealLimits {
        SealLimits {
            bytes_max: self.options.seal_bytes_max,
            events_max: self.options.seal_events_max,
        }
    }

    /// True when a seal holds.
    async fn seal(&self, group: GroupId, term: u64) -> Result<bool, HistoryError> {
        let Some(unsealed) = self.partitions.unsealed(group, self.seal_limits()).await? else {
            return Ok(false);
        };
        let begun = Instant::now();
        let last = unsealed.seal.index;
        let built = spawn_blocking(move || {
            let built = seal::build(group, &unsealed.entries, &unsealed.verdicts);
            built.map(|built| (unsealed.seal, built))
        });
        let (seal, built) = built.await.map_err(|_| HistoryError::Stopping)??;
        let rows: u64 = built.iter().map(|built| built.object.rows).sum();
        let bytes: u64 = built.iter().map(|built| built.object.bytes).sum();
        let change = Change {
            seal: Some(seal),
            built,
            removed: Vec::new(),
        };
        let holds = self.change(group, term, change).await?;
        if holds {
            metrics::counter!("ringtail_archive_seals_total").increment(1);
            metrics::counter!("ringtail_archive_rows_total").increment(rows);
            metrics::counter!("ringtail_archive_bytes_total").increment(bytes);
        }
        let took_ms = begun.elapsed().as_millis() as u64;
        tracing::info!(%group, last, rows, bytes, took_ms, holds, "archive: sealed");
        Ok(holds)
    }

    /// Stores what was built, then proposes it; true when it holds.
    ///
    /// Only who holds the group's work may call it. Then what was void is in force nowhere else: a change whose outcome was
    /// not known stands before it in the log, and what it named is found in the manifest.
    pub(crate) async fn change(
        &self,
        group: GroupId,
        term: u64,
        change: Change,
    ) -> Result<bool, HistoryError> {
        let built = change.built.into_iter().map(|built| built.of_term(term));
        let built: Vec<BuiltObject> = built.collect();
        let need = match change.seal {
            Some(_) => Need::Vital,
            None => Need::Upkeep,
        };
        self.check_room(need, built.iter().map(|built| built.object.bytes).sum())?;
        for object in &built {
            self.archive.put(object).await?;
        }
        let added: Vec<ArchiveObject> = built.into_iter().map(|built| built.object).collect();
        let paths: Vec<Bytes> = added.iter().map(|object| object.path.clone()).collect();
        let change = ArchiveChange {
            seal: change.seal,
            added,
            removed: change.removed,
            term,
        };
        let holds = self.propose(group, change).await?;
        match holds {
            true => self.partitions.note_held(group, &paths)?,
            false => self.discard(group, &paths).await?,
        }
        Ok(holds)
    }

    /// Decides on all changes of this term that were proposed before; false when this node does not lead in it any more.
    pub(crate) async fn settle_term(
        &self,
        group: GroupId,
        term: u64,
    ) -> Result<bool, HistoryError> {
        let change = ArchiveChange {
            term,
            ..ArchiveChange::default()
        };
        self.propose(group, change).await
    }

    /// True when the change holds.
    async fn propose(&self, group: GroupId, change: ArchiveChange) -> Result<bool, HistoryError> {
        let changed = self.partitions.change_archive(group, change);
        let changed = timeout(CHANGE_WAIT_MAX, changed).await;
        Ok(changed.map_err(|_| HistoryError::Undecided { group })??)
    }

    /// Deletes what a void change would have brought.
    async fn discard(&self, group: GroupId, paths: &[Bytes]) -> Result<(), HistoryError> {
        let named = self.partitions.archive_manifest(group)?.objects;
        for path in paths.iter().filter(|path| !named.contains_key(*path)) {
            let path = String::from_utf8_lossy(path);
            self.archive.delete(&path).await?;
        }
        Ok(())
    }
}

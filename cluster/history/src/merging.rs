//! Many small objects of a day become few.

use std::time::{Duration, Instant};

use bytes::Bytes;
use ringtail_archive::{ArchiveError, Merge, MergePlan, merge, received_date};
use ringtail_partition::SiteMachine;
use ringtail_proto::{GroupId, stored::ArchiveObject};
use ringtail_raft::spawn_blocking;

use crate::{
    Archivist, HistoryError,
    archivist::ArchiveRound,
    room::Need,
    sealing::Change,
    work::{GroupWork, forget_older, is_time},
};

/// What could not be read is left alone for so long.
const SPARED_MAX: Duration = Duration::from_secs(3_600);

impl<M: SiteMachine> Archivist<M> {
    /// One merge that pays, if there is one: a group's seals wait for no more than that. What cannot be read is left alone
    /// for a while, and got again where that can be done.
    pub(crate) async fn merge_due(
        &self,
        group: GroupId,
        term: u64,
        work: &mut GroupWork,
        round: &mut ArchiveRound,
    ) -> Result<(), HistoryError> {
        // Another group merges: this one's turn comes.
        let Ok(_turn) = self.merging.try_acquire() else {
            return Ok(());
        };
        let interval = Duration::from_millis(self.options.merge_interval_ms);
        if !is_time(&mut work.merged, interval) {
            return Ok(());
        }
        let mut failed = Ok(());
        let mut merges = self.plan(group, work)?.merges.into_iter();
        for merge in merges.by_ref() {
            match self.merge(group, term, merge, work).await {
                Ok(holds) => {
                    round.merges += usize::from(holds);
                    break;
                }
                Err(error @ HistoryError::Archive(ArchiveError::Unavailable { .. })) => {
                    return Err(error);
                }
                Err(error) => failed = Err(error),
            }
        }
        if merges.next().is_some() {
            // The next round goes on.
            work.merged = None;
        }
        failed
    }

    fn plan(&self, group: GroupId, work: &mut GroupWork) -> Result<MergePlan, HistoryError> {
        forget_older(&mut work.spared, SPARED_MAX);
        let manifest = self.partitions.archive_manifest(group)?;
        // The log's time, not a clock's: seals come in as long as it goes on.
        let today = received_date(self.partitions.stamp(group)?);
        let plan = MergePlan::new(manifest.objects.values(), today, self.options.merge);
        Ok(plan.sparing(|object| work.spared.contains_key(&object.path)))
    }

    /// The bytes of what is to be merged.
    async fn input(
        &self,
        plan: Merge,
        work: &mut GroupWork,
    ) -> Result<Vec<(ArchiveObject, Bytes)>, HistoryError> {
        let mut objects = Vec::with_capacity(plan.objects.len());
        for object in plan.objects {
            match self.archive.get(&object).await {
                Ok(bytes) => objects.push((object, bytes)),
                Err(error) => {
                    if matches!(
                        error,
                        ArchiveError::Missing { .. } | ArchiveError::Damaged { .. }
                    ) {
                        work.spared.insert(object.path.clone(), Instant::now());
                        self.note_damaged(&object)?;
                    }
                    return Err(error.into());
                }
            }
        }
        Ok(objects)
    }

    async fn merge(
        &self,
        group: GroupId,
        term: u64,
        plan: Merge,
        work: &mut GroupWork,
    ) -> Result<bool, HistoryError> {
        let begun = Instant::now();
        let shown = plan.to_string();
        let bytes = plan.objects.iter().map(|object| object.bytes).sum();
        self.check_room(Need::Upkeep, bytes)?;
        let objects = self.input(plan, work).await?;
        let removed = objects.iter().map(|(object, _)| object.path.clone());
        let removed = removed.collect();
        let built = spawn_blocking(move || merge(&objects));
        let built = built.await.map_err(|_| HistoryError::Stopping)??;
        let bytes = built.object.bytes;
        let change = Change {
            seal: None,
            built: vec![built],
            removed,
        };
        let holds = self.change(group, term, change).await?;
        if holds {
            metrics::counter!("ringtail_archive_merges_total").increment(1);
            metrics::counter!("ringtail_archive_merged_bytes_total").increment(bytes);
        }
        let took_ms = begun.elapsed().as_millis() as u64;
        tracing::info!(plan = %shown, bytes, took_ms, holds, "archive: merged");
        Ok(holds)
    }
}

//! Many small objects of a day become few.

use std::time::{Duration, Instant};

use ringtail_archive::{Merge, MergePlan, merge, received_date};
use ringtail_partition::SiteMachine;
use ringtail_proto::GroupId;
use ringtail_raft::spawn_blocking;

use crate::{
    Archivist, HistoryError,
    archivist::ArchiveRound,
    room::Need,
    sealing::Change,
    work::{GroupWork, is_time},
};

impl<M: SiteMachine> Archivist<M> {
    /// Merges what pays. One that fails holds up no other.
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
        let manifest = self.partitions.archive_manifest(group)?;
        // The log's time, not a clock's: seals come in as long as it goes on.
        let today = received_date(self.partitions.stamp(group)?);
        let plan = MergePlan::new(manifest.objects.values(), today, self.options.merge);
        let mut failed = Ok(());
        for merge in plan.merges {
            match self.merge(group, term, merge).await {
                Ok(holds) => round.merges += usize::from(holds),
                Err(error) => failed = Err(error),
            }
        }
        failed
    }

    async fn merge(&self, group: GroupId, term: u64, plan: Merge) -> Result<bool, HistoryError> {
        let begun = Instant::now();
        let shown = plan.to_string();
        let bytes = plan.objects.iter().map(|object| object.bytes).sum();
        self.check_room(Need::Upkeep, bytes)?;
        let mut objects = Vec::with_capacity(plan.objects.len());
        for object in plan.objects {
            let bytes = self.archive.get(&object).await?;
            objects.push((object, bytes));
        }
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

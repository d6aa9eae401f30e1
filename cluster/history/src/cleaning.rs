//! Objects that nobody names are deleted, once nobody can read them any more.

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use ringtail_archive::OrphanPlan;
use ringtail_partition::SiteMachine;
use ringtail_proto::GroupId;

use crate::{
    Archivist, HistoryError,
    archivist::ArchiveRound,
    work::{GroupWork, is_time},
};

impl<M: SiteMachine> Archivist<M> {
    /// In a shared archive the group's leader cleans up, in its own each node. An object goes when nobody has named it for
    /// the grace that readers of a replaced one have, and when no change that would name it can come any more.
    pub(crate) async fn clean(
        &self,
        group: GroupId,
        leading_term: Option<u64>,
        work: &mut GroupWork,
        round: &mut ArchiveRound,
    ) -> Result<(), HistoryError> {
        if self.archive.options().location.is_shared() && leading_term.is_none() {
            work.unnamed.clear();
            return Ok(());
        }
        let interval = Duration::from_millis(self.options.clean_interval_ms);
        if !is_time(&mut work.cleaned, interval) {
            return Ok(());
        }
        let manifest = self.partitions.archive_manifest(group)?;
        let Some(term) = leading_term.or(manifest.decided_term) else {
            return Ok(());
        };
        let mut plan = OrphanPlan::find(&self.archive, group, &manifest.objects, term).await?;
        self.keep_young(&mut plan, work);
        if plan.objects.is_empty() {
            return Ok(());
        }
        if let Some(term) = leading_term {
            // Changes of this term that are not decided stand before this one in the log.
            if !self.settle_term(group, term).await? {
                return Ok(());
            }
        }
        let named = self.partitions.archive_manifest(group)?.objects;
        plan.objects
            .retain(|object| !named.contains_key(object.path.as_bytes()));
        tracing::info!(%group, %plan, "archive: cleaning up");
        for object in &plan.objects {
            self.archive.delete(&object.path).await?;
            work.unnamed.remove(&object.path);
            round.deletes += 1;
            metrics::counter!("ringtail_archive_deleted_objects_total").increment(1);
        }
        Ok(())
    }

    /// Takes out of the plan what somebody may still read.
    fn keep_young(&self, plan: &mut OrphanPlan, work: &mut GroupWork) {
        let now = Instant::now();
        let found: BTreeSet<&String> = plan.objects.iter().map(|object| &object.path).collect();
        work.unnamed.retain(|path, _| found.contains(path));
        let grace = Duration::from_millis(self.options.grace_ms);
        plan.objects.retain(|object| {
            let since = *work.unnamed.entry(object.path.clone()).or_insert(now);
            now.duration_since(since) >= grace
        });
    }
}

//! What the partitions tell to, and take from, whoever mirrors their rows to a store elsewhere.

use std::{collections::BTreeMap, sync::Arc};

use bytes::Bytes;
use ringtail_checkpoint::{
    Elsewhere, GroupBatch, GroupKey, GroupSnapshot, GroupStore, SiteReader, StoreError,
};
use ringtail_proto::{
    GroupId, LogIndex, RowWrite, SiteGeneration, UnixMillis,
    stored::{Mirrored, PartitionEntry, partition_entry},
};
use ringtail_raft::spawn_blocking;

use crate::{
    PartitionError, Partitions, SiteMachine,
    feeds::Feeds,
    group_history::{index_row, read_index},
    site_actor::{BeginRollUp, FinishRollUp},
};

/// The row that says since when every change of rows here has left a note.
pub(crate) const NOTED_SINCE: GroupKey = GroupKey::named("noted");

/// One moment of a group that this node leads.
#[derive(Clone)]
pub struct MirrorTurn {
    /// The term in which it leads.
    pub term: u64,
    /// The last applied entry; it is of this term, so no other leader of the group has written beyond it.
    pub applied: LogIndex,
    /// What entries up to here changed is in the rows; what changes later leaves notes of later entries.
    pub settled: LogIndex,
    /// What entries up to here changed is known to be in the mirror.
    pub mirrored: Option<LogIndex>,
    /// Sites whose rows lack something, and the first entry of it.
    pub dirty: BTreeMap<SiteGeneration, LogIndex>,
    /// Every change of this replica's rows by later entries has left a note; none when that is not known.
    pub noted_since: Option<LogIndex>,
    /// Generations that are fed no longer.
    pub ended: Vec<SiteGeneration>,
    /// The rows.
    pub rows: Arc<dyn GroupSnapshot>,
    feeds: Feeds,
}

impl MirrorTurn {
    /// True when a generation takes entries, so that its rows follow the log.
    #[must_use]
    pub fn is_fed(&self, site: SiteGeneration) -> bool {
        self.feeds.contains(site)
    }

    /// The fed generations of sites that have others than that of their birth.
    pub fn later(&self) -> impl Iterator<Item = SiteGeneration> {
        self.feeds.later()
    }
}

impl<M: SiteMachine> Partitions<M> {
    /// What the mirror needs to know of a group now; none unless this node leads it and has applied an entry of its term.
    ///
    /// # Errors
    /// When the partition is not on this node or its rows cannot be read.
    pub async fn mirror_turn(&self, group: GroupId) -> Result<Option<MirrorTurn>, PartitionError> {
        let replica = self.replica(group)?;
        let partition = &replica.partition;
        let _entrance = partition.enter().await?;
        let leadership = replica.raft.watch_leadership();
        let before = leadership.current();
        let Some(applied) = partition.applied().0.filter(|at| at.term == before.term) else {
            return Ok(None);
        };
        // In this order: the rows hold at least what floor and gauges say.
        let Some(settled) = partition.highest_floor().map(|floor| floor.position.index) else {
            return Ok(None);
        };
        let readings = partition.sites.readings().into_iter();
        let dirty = readings.filter_map(|(site, reading)| Some((site, reading.dirty_since?)));
        let dirty = dirty.collect();
        // Before the rows: one that counts as complete is so in them.
        let feeds = partition.feeds();
        let rows = partition.rows().snapshot();
        // And this last: whoever still leads has applied nothing of later terms.
        if !before.is_leader || leadership.current() != before {
            return Ok(None);
        }
        let noted_since = noted_since(&*rows)?;
        let progress = partition.progress.lock();
        Ok(Some(MirrorTurn {
            term: before.term,
            applied: applied.index,
            settled,
            mirrored: progress.history.mirrored,
            dirty,
            noted_since,
            ended: progress.history.generations.ended_by(settled).collect(),
            feeds,
            rows,
        }))
    }

    /// From this entry on every change has left a note on this node: it leads, and the entry is one of its term.
    ///
    /// # Errors
    /// When the partition is not on this node or its rows cannot be written.
    pub async fn note_noting_since(
        &self,
        group: GroupId,
        since: LogIndex,
    ) -> Result<(), PartitionError> {
        let partition = &self.replica(group)?.partition;
        let _entrance = partition.enter().await?;
        let rows = partition.rows();
        let written = spawn_blocking(move || {
            let mut batch = GroupBatch::new();
            batch.put(&NOTED_SINCE, index_row(since));
            rows.commit(batch)
        });
        Ok(written
            .await
            .map_err(|_| PartitionError::Stopping(group))??)
    }

    /// Proposes that the mirror has what entries up to one changed, and waits until that is applied here: from then on
    /// replicas forget their notes of it.
    ///
    /// # Errors
    /// When this node does not lead the group, or the entry may or may not commit.
    pub async fn note_mirrored(
        &self,
        group: GroupId,
        through: LogIndex,
    ) -> Result<(), PartitionError> {
        let replica = self.replica(group)?;
        let entry = PartitionEntry {
            stamp_ms: replica.partition.applied().1.0,
            body: Some(partition_entry::Body::Mirrored(Mirrored {
                index: through.0,
            })),
        };
        let proposal = replica.raft.propose(entry.to_log()).await?;
        proposal.applied().await?;
        Ok(())
    }
}

impl<M: SiteMachine> Partitions<M> {
    /// Who gives pages that do not rest here any more; only the first one counts.
    pub fn set_elsewhere(&self, elsewhere: Arc<dyn Elsewhere>) {
        self.node.set_elsewhere(elsewhere);
    }

    /// The rows of a group and its highest stamp.
    ///
    /// # Errors
    /// When the partition is not on this node or not whole.
    pub async fn rows_of(
        &self,
        group: GroupId,
    ) -> Result<(Arc<dyn GroupSnapshot>, UnixMillis), PartitionError> {
        let partition = &self.replica(group)?.partition;
        let _entrance = partition.enter().await?;
        partition.check_whole()?;
        Ok((partition.rows().snapshot(), partition.applied().1))
    }

    /// Begins to write rows of a site in another way that says the same: the rows, and the revision that they have.
    ///
    /// # Errors
    /// When the partition is not on this node, or does not feed the generation.
    pub async fn begin_rewrite(
        &self,
        site: SiteGeneration,
    ) -> Result<(SiteReader, u64), PartitionError> {
        let partition = &self.of(site.site)?.partition;
        let _entrance = partition.enter().await?;
        partition.check_whole()?;
        partition.check_fed(site)?;
        let begun = partition.ask(site, || BeginRollUp).await?;
        begun.map_err(|error| partition.site_error(site, error))
    }

    /// Writes these rows unless the site's rows have changed since that revision; tells whether it did.
    ///
    /// # Errors
    /// When the store does not take them.
    pub async fn finish_rewrite(
        &self,
        site: SiteGeneration,
        revision: u64,
        writes: Vec<RowWrite>,
    ) -> Result<bool, PartitionError> {
        let partition = &self.of(site.site)?.partition;
        let _entrance = partition.enter().await?;
        let finish = || FinishRollUp {
            revision,
            writes: writes.clone(),
        };
        let finished = partition.ask(site, finish).await?;
        finished.map_err(|error| partition.site_error(site, error))
    }
}

/// A replica whose options leave no notes must not say that it does.
pub(crate) fn forget_noting(rows: &dyn GroupStore, mirrors: bool) -> Result<(), StoreError> {
    if mirrors || noted_since(&*rows.snapshot())?.is_none() {
        return Ok(());
    }
    let mut batch = GroupBatch::new();
    batch.remove(&NOTED_SINCE);
    rows.commit(batch)
}

pub(crate) fn noted_since(rows: &dyn GroupSnapshot) -> Result<Option<LogIndex>, StoreError> {
    let row: Option<Bytes> = rows.get(&NOTED_SINCE)?;
    row.map(|row| read_index(&row)).transpose()
}

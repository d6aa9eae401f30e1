//! What becomes of generations that are fed no longer.

use std::ops::ControlFlow;

use ringtail_checkpoint::{GroupBatch, GroupKey, GroupStore, SiteReader, StoreError};
use ringtail_proto::{LogIndex, RowReader as _, SiteGeneration, SiteRow};
use ringtail_raft::spawn_blocking;

use crate::{
    PartitionError, SiteMachine, complete_generations::complete_key, partition::Partition,
};

/// Rows removed in one batch.
const BATCH_ROWS_MAX: usize = 1_024;

impl<M: SiteMachine> Partition<M> {
    /// Removes the rows of generations that have ended; returns how many. The floor is past their last entry, so their
    /// state is in rows and their actors write nothing any more. Their notes stay until archive and mirror have them.
    pub(crate) async fn remove_ended(&self) -> Result<usize, PartitionError> {
        let mut removed = 0;
        let past = self.progress.lock().past();
        for site in past {
            self.sites.remove(site);
            let mut next = Some(SiteRow::Site);
            while let Some(first) = next {
                // A build that has not noticed the end yet waits, and writes no rows after this.
                let _building = self.building.lock().await;
                let rows = self.rows();
                let done = spawn_blocking(move || remove_rows(&*rows, site, first)).await;
                let (batch, rest) = done.map_err(|_| PartitionError::Stopping(self.group))??;
                removed += batch;
                next = rest;
            }
            self.progress.lock().note_removed(site);
        }
        Ok(removed)
    }
}

/// Removes rows from one on, up to as many as a batch takes; returns how many, and where to go on.
fn remove_rows(
    rows: &dyn GroupStore,
    site: SiteGeneration,
    first: SiteRow,
) -> Result<(usize, Option<SiteRow>), StoreError> {
    let mut batch = GroupBatch::new();
    let (mut removed, mut rest) = (0, None);
    let reader = SiteReader::new(rows.snapshot(), site);
    let last = SiteRow::Notes(LogIndex(u64::MAX), u32::MAX);
    let read = reader.range(first, last, &mut |row, _| {
        if removed == BATCH_ROWS_MAX {
            rest = Some(row);
            return ControlFlow::Break(());
        }
        if !matches!(row, SiteRow::Notes(..)) {
            batch.remove(&GroupKey::Site(site, row));
            removed += 1;
        }
        ControlFlow::Continue(())
    });
    read.map_err(|error| StoreError::Corrupt {
        message: error.to_string(),
    })?;
    if rest.is_none() {
        batch.remove(&complete_key(site));
    }
    rows.commit(batch)?;
    Ok((removed, rest))
}

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
            // A build that has not noticed the end yet writes no rows after this.
            let _building = self.building.lock().await;
            let rows = self.rows();
            let done = spawn_blocking(move || remove_rows(&*rows, site)).await;
            removed += done.map_err(|_| PartitionError::Stopping(self.group))??;
            self.progress.lock().note_removed(site);
        }
        Ok(removed)
    }
}

fn remove_rows(rows: &dyn GroupStore, site: SiteGeneration) -> Result<usize, StoreError> {
    let mut batch = GroupBatch::new();
    batch.remove(&complete_key(site));
    rows.commit(batch)?;
    let mut removed = 0;
    loop {
        let mut batch = GroupBatch::new();
        let reader = SiteReader::new(rows.snapshot(), site);
        let last = SiteRow::Notes(LogIndex(u64::MAX), u32::MAX);
        let read = reader.range(SiteRow::Site, last, &mut |row, _| {
            if !matches!(row, SiteRow::Notes(..)) {
                batch.remove(&GroupKey::Site(site, row));
            }
            match batch.len() < BATCH_ROWS_MAX {
                true => ControlFlow::Continue(()),
                false => ControlFlow::Break(()),
            }
        });
        read.map_err(|error| StoreError::Corrupt {
            message: error.to_string(),
        })?;
        if batch.is_empty() {
            return Ok(removed);
        }
        removed += batch.len();
        rows.commit(batch)?;
    }
}

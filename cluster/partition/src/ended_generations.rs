//! What becomes of generations that are fed no longer.

use std::ops::ControlFlow;

use ringtail_checkpoint::{GroupBatch, GroupKey, GroupStore, SiteReader, StoreError};
use ringtail_proto::{LogIndex, RowReader as _, SiteGeneration, SiteRow};
use ringtail_raft::spawn_blocking;

use crate::{PartitionError, SiteMachine, generation_build::complete_key, partition::Partition};

/// Rows removed in one batch.
const BATCH_ROWS_MAX: usize = 1_024;

impl<M: SiteMachine> Partition<M> {
    /// The log says that a generation is fed no longer.
    pub(crate) fn end_generation(&self, site: SiteGeneration) {
        self.progress.lock().note_ended(site);
        self.sites.remove(site);
    }

    /// Removes the rows of generations that have ended; returns how many. Nobody writes them any more: the duties, which
    /// call this, are the only ones that make actors write.
    pub(crate) async fn remove_ended(&self) -> Result<usize, PartitionError> {
        let ended: Vec<SiteGeneration> = {
            let progress = self.progress.lock();
            let ended = progress.history.generations.ended();
            let left = ended.filter(|site| !progress.removed.contains(site));
            left.collect()
        };
        let mut removed = 0;
        for site in ended {
            let rows = self.rows();
            let done = spawn_blocking(move || remove_rows(&*rows, site)).await;
            removed += done.map_err(|_| PartitionError::Stopping(self.group))??;
            self.progress.lock().removed.insert(site);
        }
        Ok(removed)
    }
}

fn remove_rows(rows: &dyn GroupStore, site: SiteGeneration) -> Result<usize, StoreError> {
    let mut removed = 0;
    loop {
        let mut batch = GroupBatch::new();
        let reader = SiteReader::new(rows.snapshot(), site);
        let last = SiteRow::Notes(LogIndex(u64::MAX), u32::MAX);
        let read = reader.range(SiteRow::Site, last, &mut |row, _| {
            batch.remove(&GroupKey::Site(site, row));
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
        batch.remove(&complete_key(site));
        rows.commit(batch)?;
    }
}

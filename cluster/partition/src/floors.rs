//! The floor: up to where everything rests on disk.

use ringtail_checkpoint::GroupBatch;
use ringtail_proto::LogIndex;
use ringtail_raft::LogPosition;
use ringtail_raft::spawn_blocking;

use crate::{
    PartitionError, SiteMachine, capped::CappedSince, floor_row::FloorRow, partition::Partition,
    quiet::Quiet,
};

impl<M: SiteMachine> Partition<M> {
    /// The highest floor that the rows committed so far allow: below the first entry that only memory holds.
    ///
    /// The applied index is read before the gauges: a site that becomes dirty meanwhile does so above it.
    pub(crate) fn highest_floor(&self) -> Option<FloorRow> {
        let applied = self.applied().0?.index;
        let index = match self.sites.dirty_since() {
            Some(dirty) => applied.min(LogIndex(dirty.0.saturating_sub(1))),
            None => applied,
        };
        let progress = self.progress.lock();
        Some(FloorRow {
            position: progress.positions.at(index)?,
            stamp: progress.stamp,
            // Not a later one: Raft takes a snapshot's membership for one at or below its position.
            membership: progress.memberships.at(index),
        })
    }

    /// Writes the highest floor that the rows allow; none when there is no higher one. Each step ends before the next
    /// one begins: the rows below the floor are on disk before the floor is written.
    pub(crate) async fn store_floor(&self) -> Result<Option<LogPosition>, PartitionError> {
        let _turn = self.floor_turn.lock().await;
        self.forget_recent_verdicts();
        // Before the history is read: the floor covers no entry that the batch does not hold.
        let floor = self.next_floor();
        let (mut batch, history_index) = {
            let mut batch = GroupBatch::new();
            let history = &self.progress.lock().history;
            history.write(&mut batch);
            (batch, history.index())
        };
        if batch.is_empty() && floor.is_none() {
            return Ok(None);
        }
        self.persist().await?;
        if let Some(floor) = &floor {
            batch.put(&FloorRow::KEY, floor.encode());
            match self.progress.lock().capped_since {
                Some(since) => batch.put(&CappedSince::KEY, since.encode()),
                None => batch.remove(&CappedSince::KEY),
            }
            match self.progress.lock().quiet.row(floor.position.index) {
                Some(row) => batch.put(&Quiet::KEY, row),
                None => batch.remove(&Quiet::KEY),
            }
        }
        self.rows().commit(batch)?;
        self.persist().await?;
        self.progress.lock().history.note_written(history_index);
        let Some(floor) = floor else {
            return Ok(None);
        };
        let position = floor.position;
        self.set_floor(floor);
        metrics::counter!("ringtail_checkpoint_floors_total").increment(1);
        let group = self.group;
        tracing::debug!(%group, floor = %position, "checkpoint: the floor is raised");
        Ok(Some(position))
    }

    /// The floor that may be written now, if it is higher than the one on disk: below it the log goes, so it stays below
    /// the first entry that the archive still needs.
    fn next_floor(&self) -> Option<FloorRow> {
        let highest = self.highest_floor()?;
        let progress = self.progress.lock();
        let is_capped = progress.capped_since.is_some();
        let unsealed = progress.unsealed.first().filter(|_| is_capped);
        let written = progress.floor.as_ref().map(|floor| floor.position.index);
        let unheld = match self.options.holds_objects {
            true => progress.first_unheld_above(written.unwrap_or_default()),
            false => None,
        };
        let needed = unsealed.into_iter().chain(unheld).min();
        let floor = match needed {
            Some(needed) if needed <= highest.position.index => {
                let index = LogIndex(needed.0.checked_sub(1)?);
                FloorRow {
                    position: progress.positions.at(index)?,
                    stamp: highest.stamp,
                    membership: progress.memberships.at(index),
                }
            }
            _ => highest,
        };
        (Some(floor.position.index) > written).then_some(floor)
    }

    pub(crate) async fn persist(&self) -> Result<(), PartitionError> {
        let store = self.seams.store.clone();
        match spawn_blocking(move || store.persist()).await {
            Ok(result) => Ok(result?),
            Err(_) => Err(PartitionError::Stopping(self.group)),
        }
    }

    /// The floor is on disk.
    fn set_floor(&self, floor: FloorRow) {
        let mut progress = self.progress.lock();
        progress.positions.forget_below(floor.position.index);
        progress.memberships.forget_below(floor.position.index);
        progress.quiet.raise(floor.position.index);
        progress.floor = Some(floor);
    }
}

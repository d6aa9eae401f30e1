//! The partition as sender and receiver of snapshots.

use std::sync::Arc;

use ringtail_raft::Floor;
use ringtail_raft::spawn_blocking;

use crate::{
    PartitionError, SiteMachine, floor_row::FloorRow, partition::Partition,
    snapshot_source::StoreSource,
};

impl<M: SiteMachine> Partition<M> {
    /// The rows of one moment, and the floor that is among them. Single sites may be ahead of the floor; whoever applies
    /// the log from there on skips what they hold already.
    pub(crate) async fn snapshot(self: &Arc<Self>) -> Result<(Floor, StoreSource), PartitionError> {
        let _entrance = self.enter().await?;
        self.check_whole()?;
        if self.floor().is_none() {
            self.make_floor().await?;
        }
        let (rows, group) = (self.rows(), self.group);
        let taken = spawn_blocking(move || {
            let snapshot = rows.snapshot();
            let row = snapshot.get(&FloorRow::KEY)?;
            let floor = row.map(|row| FloorRow::decode(group, row)).transpose()?;
            Ok::<_, PartitionError>((snapshot, floor))
        });
        let taken = taken.await;
        let (snapshot, floor) = taken.map_err(|_| PartitionError::Stopping(group))??;
        let floor = floor.ok_or_else(|| {
            self.snapshot_error("no floor can be written, a site cannot be checkpointed".to_owned())
        })?;
        tracing::info!(%group, floor = %floor.position, "checkpoint: a peer is sent the rows");
        let clock = self.seams.clock.clone();
        let source = StoreSource::new(snapshot, self.node.clone(), clock);
        Ok((floor.into(), source))
    }

    /// Writes what only memory holds, so that there is a floor to begin from.
    async fn make_floor(self: &Arc<Self>) -> Result<(), PartitionError> {
        for (site, reading) in self.sites.readings() {
            if reading.dirty_since.is_some() {
                self.checkpoint_site(site).await?;
            }
        }
        let stored = self.store_floor().await;
        stored.inspect_err(|error| self.note_store_failure(error))?;
        Ok(())
    }
}

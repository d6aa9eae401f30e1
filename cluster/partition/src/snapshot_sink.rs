//! A peer's rows on their way into the place of this replica's rows.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use ringtail_checkpoint::{GroupKey, GroupReplacement, RawRow, VALUE_BYTES_MAX};
use ringtail_raft::spawn_blocking;
use ringtail_raft::{Floor, MachineError, SNAPSHOT_PART_BYTES_MAX, SnapshotPart, SnapshotSink};

use crate::{
    PartitionError, SiteMachine, floor_row::FloorRow, partition::Partition, snapshot_row::piece_of,
};

/// Gathers rows beside those that the replica has. Dropped without finish it leaves the replica as it was: one that was
/// empty is empty.
pub(crate) struct StoreSink<M: SiteMachine> {
    partition: Arc<Partition<M>>,
    /// None after an error: then only dropping is left.
    replacement: Option<Box<dyn GroupReplacement>>,
    /// The last row: the next part may go on with its value.
    open: Option<OpenRow>,
    floor: Option<FloorRow>,
    /// What has come so far.
    received_bytes: Arc<AtomicU64>,
}

/// A row whose value may go on.
struct OpenRow {
    key: Bytes,
    value: BytesMut,
    pieces: u32,
}

impl<M: SiteMachine> StoreSink<M> {
    pub(crate) async fn begin(partition: Arc<Partition<M>>) -> Result<Self, PartitionError> {
        let (store, group) = (partition.seams.store.clone(), partition.group);
        let begun = spawn_blocking(move || store.replace_group(group)).await;
        let replacement = begun.map_err(|_| PartitionError::Stopping(group))??;
        Ok(Self {
            received_bytes: partition.begin_receiving(),
            partition,
            replacement: Some(replacement),
            open: None,
            floor: None,
        })
    }

    async fn take(&mut self, part: SnapshotPart) -> Result<(), PartitionError> {
        let bytes: usize = part
            .rows
            .iter()
            .map(|(key, value)| key.len() + value.len())
            .sum();
        if bytes > SNAPSHOT_PART_BYTES_MAX {
            return Err(self.refuse(format!(
                "a part has {bytes} bytes, at most {SNAPSHOT_PART_BYTES_MAX} are allowed"
            )));
        }
        let mut rows = Vec::with_capacity(part.rows.len());
        for (key, value) in part.rows {
            match self.open.as_mut() {
                Some(open) if piece_of(&key, &open.key) == Some(open.pieces + 1) => {
                    open.pieces += 1;
                    open.value.extend_from_slice(&value);
                    self.check_value()?;
                }
                _ => {
                    let next = OpenRow {
                        key,
                        value: BytesMut::from(value),
                        pieces: 0,
                    };
                    if let Some(row) = self.open.replace(next) {
                        rows.push(self.close(row)?);
                    }
                }
            }
        }
        self.write(rows).await?;
        self.received_bytes
            .fetch_add(bytes as u64, Ordering::Relaxed);
        metrics::counter!("ringtail_replicate_snapshot_received_bytes_total")
            .increment(bytes as u64);
        Ok(())
    }

    /// Refuses a value before it takes all memory.
    fn check_value(&self) -> Result<(), PartitionError> {
        let open = self.open.as_ref();
        let bytes = open.map_or(0, |open| open.value.len() as u64);
        let bytes_max = VALUE_BYTES_MAX.min(self.partition.options.snapshot_value_bytes_max);
        match bytes > bytes_max {
            true => Err(self.refuse(format!(
                "a value has {bytes} bytes, at most {bytes_max} are allowed"
            ))),
            false => Ok(()),
        }
    }

    /// A row whose value is complete.
    fn close(&mut self, row: OpenRow) -> Result<RawRow, PartitionError> {
        let (key, value) = (row.key, row.value.freeze());
        let decoded = GroupKey::decode(&key).map_err(|error| self.refuse(error.to_string()))?;
        match decoded {
            GroupKey::Site(site, _) => {
                let owner = self.partition.node.slots.group_of(site.site);
                if owner != self.partition.group {
                    let message = format!("it has a row of site {site}, which is in group {owner}");
                    return Err(self.refuse(message));
                }
            }
            row if row == FloorRow::KEY => {
                self.floor = Some(FloorRow::decode(self.partition.group, value.clone())?);
            }
            GroupKey::Group(_) => {}
        }
        Ok((key, value))
    }

    async fn write(&mut self, rows: Vec<RawRow>) -> Result<(), PartitionError> {
        if rows.is_empty() {
            return Ok(());
        }
        let Some(mut replacement) = self.replacement.take() else {
            return Err(self.refuse("an earlier part was refused".to_owned()));
        };
        let written = spawn_blocking(move || replacement.put(rows).map(|()| replacement)).await;
        let written = written.map_err(|_| PartitionError::Stopping(self.partition.group))?;
        self.replacement = Some(written?);
        Ok(())
    }

    async fn complete(mut self) -> Result<Floor, PartitionError> {
        if let Some(row) = self.open.take() {
            let row = self.close(row)?;
            self.write(vec![row]).await?;
        }
        let Some(floor) = self.floor.take() else {
            return Err(self.refuse("it has no floor row".to_owned()));
        };
        let Some(replacement) = self.replacement.take() else {
            return Err(self.refuse("an earlier part was refused".to_owned()));
        };
        let (store, group) = (self.partition.seams.store.clone(), self.partition.group);
        let switch = move || {
            replacement.finish()?;
            store.group(group)
        };
        self.partition.take_over(floor.clone(), switch).await?;
        tracing::info!(%group, floor = %floor.position, "checkpoint: a snapshot has taken the place of the rows");
        Ok(floor.into())
    }

    fn refuse(&self, message: String) -> PartitionError {
        self.partition.snapshot_error(message)
    }
}

#[async_trait]
impl<M: SiteMachine> SnapshotSink for StoreSink<M> {
    async fn put(&mut self, part: SnapshotPart) -> Result<(), MachineError> {
        let taken = self.take(part).await;
        taken.map_err(|error| {
            self.replacement = None;
            self.partition.note_store_failure(&error);
            error.into()
        })
    }

    async fn finish(self: Box<Self>) -> Result<Floor, MachineError> {
        let partition = self.partition.clone();
        // Once begun it comes to its end, whether or not somebody waits: the partition must know what the store holds.
        let completed = tokio::spawn(self.complete()).await;
        let completed = completed.unwrap_or(Err(PartitionError::Stopping(partition.group)));
        completed.map_err(|error| {
            partition.note_store_failure(&error);
            error.into()
        })
    }
}

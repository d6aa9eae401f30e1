//! Group 0's state on its way to a node that has fallen behind, and in.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use ringtail_checkpoint::{GroupReplacement, GroupSnapshot};
use ringtail_raft::spawn_blocking;
use ringtail_raft::{
    Floor, MachineError, SNAPSHOT_PART_BYTES_MAX, SnapshotPart, SnapshotSink, SnapshotSource,
};

use crate::{
    METADATA_GROUP, MetadataError, MetadataMachine,
    machine::{Applying, Shared},
};

/// The rows as they were at one position.
pub(crate) struct Source {
    rows: Arc<dyn GroupSnapshot>,
    last: Option<Bytes>,
}

/// Rows that take the place of all that are here.
pub(crate) struct Sink {
    shared: Arc<Shared>,
    /// None after an error: what came before it is given up.
    replacement: Option<Box<dyn GroupReplacement>>,
}

impl MetadataMachine {
    /// The rows as they are now, and the position that they hold: both change together, under one lock.
    pub(crate) fn rows_now(&self) -> (Floor, Source) {
        let applying = self.shared.applying.lock();
        let source = Source {
            rows: applying.rows.snapshot(),
            last: None,
        };
        (applying.floor(), source)
    }

    /// Begins to take other rows in. Until the end readers see what they saw, and so they do when it does not come.
    pub(crate) async fn replace(&self) -> Result<Sink, MachineError> {
        let shared = Arc::clone(&self.shared);
        let begin = move || {
            let replacement = shared.store.replace_group(METADATA_GROUP);
            let replacement = replacement.map_err(MetadataError::storage)?;
            Ok(Sink {
                shared,
                replacement: Some(replacement),
            })
        };
        blocking(begin).await
    }
}

#[async_trait]
impl SnapshotSource for Source {
    async fn next(&mut self) -> Result<Option<SnapshotPart>, MachineError> {
        let (snapshot, last) = (Arc::clone(&self.rows), self.last.clone());
        let read = move || {
            let rows = snapshot.rows_after(last.as_deref(), SNAPSHOT_PART_BYTES_MAX as u64);
            rows.map_err(MetadataError::storage)
        };
        let rows = blocking(read).await?;
        let Some((key, _)) = rows.last() else {
            return Ok(None);
        };
        self.last = Some(key.clone());
        Ok(Some(SnapshotPart { rows }))
    }
}

#[async_trait]
impl SnapshotSink for Sink {
    async fn put(&mut self, part: SnapshotPart) -> Result<(), MachineError> {
        let mut replacement = self.replacement.take().ok_or_else(given_up)?;
        let put = move || {
            replacement.put(part.rows).map_err(MetadataError::storage)?;
            Ok(replacement)
        };
        self.replacement = Some(blocking(put).await?);
        Ok(())
    }

    /// Puts the rows in place, then shows readers the state that they hold, whole.
    async fn finish(mut self: Box<Self>) -> Result<Floor, MachineError> {
        let replacement = self.replacement.take().ok_or_else(given_up)?;
        let shared = Arc::clone(&self.shared);
        let finish = move || {
            let mut applying = shared.applying.lock();
            replacement.finish().map_err(MetadataError::storage)?;
            let (received, directory) = Applying::open(&*shared.store)?;
            let (floor, index) = (received.floor(), received.index());
            *applying = received;
            shared.directory.become_like(directory);
            shared.applied.send_replace(index);
            Ok(floor)
        };
        blocking(finish).await
    }
}

fn given_up() -> MachineError {
    MachineError::new("the snapshot was given up after an error")
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, MetadataError> + Send + 'static,
) -> Result<T, MachineError> {
    match spawn_blocking(work).await {
        Ok(result) => result.map_err(MachineError::new),
        Err(error) => Err(MachineError::new(error)),
    }
}

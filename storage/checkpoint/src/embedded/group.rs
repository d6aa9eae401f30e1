//! One group's keyspace.

use std::{
    ops::{Bound, ControlFlow},
    sync::{Arc, atomic::Ordering},
};

use bytes::Bytes;
use fjall::{Keyspace, Readable, Snapshot};
use ringtail_proto::GroupId;

use super::{Shared, read_error};
use crate::{GroupBatch, GroupKey, GroupSnapshot, GroupStore, RawRow, StoreError};

/// Batches up to this size pass while the disk is nearly full: floors let the log be purged, which makes room.
const SMALL_BATCH_BYTES_MAX: u64 = 4 << 10;

/// The metadata may use the reserve.
pub(super) const METADATA: GroupId = GroupId(0);

pub(super) struct EmbeddedGroup {
    shared: Arc<Shared>,
    group: GroupId,
    generation: u64,
    keyspace: Keyspace,
}

impl EmbeddedGroup {
    pub(super) const fn new(
        shared: Arc<Shared>,
        group: GroupId,
        generation: u64,
        keyspace: Keyspace,
    ) -> Self {
        Self {
            shared,
            group,
            generation,
            keyspace,
        }
    }
}

impl GroupStore for EmbeddedGroup {
    fn group(&self) -> GroupId {
        self.group
    }

    fn snapshot(&self) -> Arc<dyn GroupSnapshot> {
        Arc::new(EmbeddedSnapshot {
            snapshot: self.shared.database.snapshot(),
            keyspace: self.keyspace.clone(),
            _shared: self.shared.clone(),
        })
    }

    fn commit(&self, batch: GroupBatch) -> Result<(), StoreError> {
        batch.check_sizes()?;
        self.shared.check_poison()?;
        let _current = self.shared.generations.hold(self.group, self.generation)?;
        let value_bytes = batch.value_bytes();
        if value_bytes > SMALL_BATCH_BYTES_MAX && self.group != METADATA {
            self.shared.check_room()?;
        }
        let mut writes = self.shared.database.batch();
        for (key, value) in batch.into_changes() {
            match value {
                Some(value) => writes.insert(&self.keyspace, key, value),
                None => writes.remove(&self.keyspace, key),
            }
        }
        writes.commit().map_err(|error| self.shared.fail(error))?;
        self.shared
            .written_bytes
            .fetch_add(value_bytes, Ordering::Relaxed);
        metrics::counter!("ringtail_checkpoint_commits_total").increment(1);
        metrics::counter!("ringtail_checkpoint_value_bytes_total").increment(value_bytes);
        Ok(())
    }

    fn check_room(&self) -> Result<(), StoreError> {
        if self.group == METADATA {
            return self.shared.check_poison();
        }
        self.shared.check_room()
    }
}

struct EmbeddedSnapshot {
    snapshot: Snapshot,
    keyspace: Keyspace,
    /// A reader keeps the store open.
    _shared: Arc<Shared>,
}

impl GroupSnapshot for EmbeddedSnapshot {
    fn get(&self, key: &GroupKey) -> Result<Option<Bytes>, StoreError> {
        let value = self.snapshot.get(&self.keyspace, key.encode());
        Ok(value.map_err(read_error)?.map(Bytes::from))
    }

    fn range(
        &self,
        from: &GroupKey,
        to: &GroupKey,
        visit: &mut dyn FnMut(GroupKey, Bytes) -> ControlFlow<()>,
    ) -> Result<(), StoreError> {
        // An inverted range is empty here; the engine would panic.
        if from > to {
            return Ok(());
        }
        for row in self
            .snapshot
            .range(&self.keyspace, from.encode()..=to.encode())
        {
            let (key, value) = row.into_inner().map_err(read_error)?;
            if visit(GroupKey::decode(&key)?, Bytes::from(value)).is_break() {
                break;
            }
        }
        Ok(())
    }

    fn rows_after(&self, after: Option<&[u8]>, bytes_max: u64) -> Result<Vec<RawRow>, StoreError> {
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let range: (Bound<&[u8]>, Bound<&[u8]>) = (from, Bound::Unbounded);
        let mut rows = Vec::new();
        let mut bytes = 0;
        for row in self.snapshot.range::<&[u8], _>(&self.keyspace, range) {
            let (key, value) = row.into_inner().map_err(read_error)?;
            bytes += (key.len() + value.len()) as u64;
            if bytes > bytes_max && !rows.is_empty() {
                break;
            }
            rows.push((Bytes::from(key), Bytes::from(value)));
        }
        Ok(rows)
    }
}

//! A group's rows in one set.

use std::sync::{Arc, atomic::Ordering};

use bytes::Bytes;
use ringtail_proto::{GroupId, LogIndex};

use super::{
    Shared,
    row_sets::{RowSet, head_key},
    snapshot::CassandraSnapshot,
};
use crate::{GroupBatch, GroupKey, GroupSnapshot, GroupStore, StoreError};

pub(super) struct CassandraGroup {
    shared: Arc<Shared>,
    group: GroupId,
    set: Arc<RowSet>,
}

impl CassandraGroup {
    pub(super) const fn new(shared: Arc<Shared>, group: GroupId, set: Arc<RowSet>) -> Self {
        Self { shared, group, set }
    }

    /// The version of the next batch, while this is the group's set.
    fn next_version(&self) -> Result<i64, StoreError> {
        let current = self.shared.current(self.group);
        if current.is_none_or(|current| current.incarnation != self.set.incarnation) {
            return Err(StoreError::Replaced { group: self.group });
        }
        self.set
            .head
            .lock()
            .next
            .ok_or_else(|| StoreError::Poisoned {
                cause: "the outcome of a batch is not known; the group is to be opened again"
                    .to_owned(),
            })
    }
}

impl GroupStore for CassandraGroup {
    fn group(&self) -> GroupId {
        self.group
    }

    fn snapshot(&self) -> Arc<dyn GroupSnapshot> {
        let version = self.set.head.lock().committed;
        Arc::new(CassandraSnapshot::new(
            self.shared.clone(),
            self.group,
            self.set.incarnation,
            version,
        ))
    }

    fn commit(&self, batch: GroupBatch) -> Result<(), StoreError> {
        batch.check_sizes()?;
        if batch.is_empty() {
            return Ok(());
        }
        let value_bytes = batch.value_bytes();
        let rows = rows_of(batch)?;
        let _writing = self.set.writing.lock();
        let version = self.next_version()?;
        // Whatever becomes of it: unless it is known, nothing more goes into this set.
        self.set.head.lock().next = None;
        commit_at(&self.shared, self.group, &self.set, version, rows)?;
        self.shared
            .written_bytes
            .fetch_add(value_bytes, Ordering::Relaxed);
        Ok(())
    }

    fn check_room(&self) -> Result<(), StoreError> {
        self.next_version().map(drop)
    }
}

/// Writes rows and then the head, and lets readers see them.
pub(super) fn commit_at(
    shared: &Shared,
    group: GroupId,
    set: &RowSet,
    version: i64,
    mut rows: Vec<(GroupKey, Option<Bytes>)>,
) -> Result<(), StoreError> {
    let head = head_key();
    rows.push((head.clone(), Some(Bytes::new())));
    shared.wait(async || {
        let version = LogIndex(version as u64);
        let writer = &shared.writer;
        writer
            .commit_at(set.incarnation, group, version, rows.clone(), &head)
            .await
    })?;
    let mut head = set.head.lock();
    head.committed = version;
    head.next = Some(version + 1);
    Ok(())
}

fn rows_of(batch: GroupBatch) -> Result<Vec<(GroupKey, Option<Bytes>)>, StoreError> {
    let changes = batch.into_changes();
    changes
        .map(|(key, value)| Ok((GroupKey::decode(&key)?, value)))
        .collect()
}

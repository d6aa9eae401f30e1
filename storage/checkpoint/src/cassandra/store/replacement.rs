//! A set of rows on its way into the place of a group's.

use std::sync::{Arc, atomic::Ordering};

use ringtail_proto::GroupId;

use super::{Shared, group::commit_at, row_sets::RowSet};
use crate::{GroupKey, GroupReplacement, RawRow, StoreError, row_check::RowCheck};

pub(super) struct CassandraReplacement {
    shared: Arc<Shared>,
    group: GroupId,
    set: RowSet,
    check: RowCheck,
}

impl CassandraReplacement {
    pub(super) fn begin(shared: Arc<Shared>, group: GroupId) -> Result<Self, StoreError> {
        let set = shared.begin_set(group)?;
        Ok(Self {
            shared,
            group,
            set,
            check: RowCheck::default(),
        })
    }
}

impl GroupReplacement for CassandraReplacement {
    fn put(&mut self, rows: Vec<RawRow>) -> Result<(), StoreError> {
        self.check.check(&rows)?;
        let value_bytes: u64 = rows.iter().map(|(_, value)| value.len() as u64).sum();
        let rows = rows
            .into_iter()
            .map(|(key, value)| Ok((GroupKey::decode(&key)?, Some(value))))
            .collect::<Result<Vec<_>, StoreError>>()?;
        if rows.is_empty() {
            return Ok(());
        }
        let version = self.set.head.lock().committed + 1;
        commit_at(&self.shared, self.group, &self.set, version, rows)?;
        self.shared
            .written_bytes
            .fetch_add(value_bytes, Ordering::Relaxed);
        Ok(())
    }

    fn finish(self: Box<Self>) -> Result<(), StoreError> {
        let Self {
            shared, group, set, ..
        } = *self;
        shared.finish_set(group, set)
    }
}

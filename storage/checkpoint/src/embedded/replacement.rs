//! Rows on their way into the place of a group's rows.

use std::sync::{Arc, atomic::Ordering};

use fjall::Keyspace;
use ringtail_proto::GroupId;

use super::{Shared, group::METADATA};
use crate::{GroupReplacement, RawRow, StoreError, row_check::RowCheck};

/// Gathers rows in a keyspace of their own.
pub(super) struct EmbeddedReplacement {
    shared: Arc<Shared>,
    group: GroupId,
    generation: u64,
    keyspace: Keyspace,
    check: RowCheck,
    is_finished: bool,
}

impl EmbeddedReplacement {
    pub(super) fn begin(shared: Arc<Shared>, group: GroupId) -> Result<Self, StoreError> {
        shared.check_poison()?;
        let generation = shared.generations.next();
        let keyspace = shared.keyspace(group, generation)?;
        Ok(Self {
            shared,
            group,
            generation,
            keyspace,
            check: RowCheck::default(),
            is_finished: false,
        })
    }
}

impl GroupReplacement for EmbeddedReplacement {
    fn put(&mut self, rows: Vec<RawRow>) -> Result<(), StoreError> {
        self.check.check(&rows)?;
        match self.group {
            METADATA => self.shared.check_poison()?,
            _ => self.shared.check_room()?,
        }
        let value_bytes = rows.iter().map(|(_, value)| value.len() as u64).sum();
        let mut writes = self.shared.database.batch();
        for (key, value) in rows {
            writes.insert(&self.keyspace, key, value);
        }
        writes.commit().map_err(|error| self.shared.fail(error))?;
        self.shared
            .written_bytes
            .fetch_add(value_bytes, Ordering::Relaxed);
        metrics::counter!("ringtail_checkpoint_replaced_bytes_total").increment(value_bytes);
        Ok(())
    }

    fn finish(mut self: Box<Self>) -> Result<(), StoreError> {
        // After a failure nobody knows which rows count: both stay until the store is opened again.
        self.is_finished = true;
        self.shared.switch(self.group, self.generation)
    }
}

impl Drop for EmbeddedReplacement {
    fn drop(&mut self) {
        if !self.is_finished {
            self.shared.drop_rows(self.group, self.generation);
        }
    }
}

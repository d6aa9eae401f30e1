//! Changes of a group's rows that belong together.

use std::collections::BTreeMap;

use bytes::Bytes;
use ringtail_proto::{RowWrite, SiteGeneration};

use crate::{GROUP_NAME_BYTES_MAX, GroupKey, StoreError, VALUE_BYTES_MAX};

/// Changes of a group's rows, applied all or none. The last change of a row counts.
#[derive(Clone, Debug, Default)]
pub struct GroupBatch {
    changes: BTreeMap<Bytes, Option<Bytes>>,
}

impl GroupBatch {
    /// No change.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets a row.
    pub fn put(&mut self, key: &GroupKey, value: Bytes) {
        self.changes.insert(key.encode(), Some(value));
    }

    /// Removes a row, present or not.
    pub fn remove(&mut self, key: &GroupKey) {
        self.changes.insert(key.encode(), None);
    }

    /// Takes a change of one of a site's rows.
    pub fn write(&mut self, site: SiteGeneration, write: RowWrite) {
        let key = GroupKey::Site(site, write.row);
        match write.value {
            Some(value) => self.put(&key, value),
            None => self.remove(&key),
        }
    }

    /// The number of changed rows.
    #[must_use]
    pub fn len(&self) -> usize {
        self.changes.len()
    }

    /// True when nothing changes.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.changes.is_empty()
    }

    /// Bytes of all new values.
    #[must_use]
    pub fn value_bytes(&self) -> u64 {
        self.changes.values().flatten().map(size).sum()
    }

    /// The encoded keys and their new values, none for removal, by key.
    pub(crate) fn into_changes(self) -> impl Iterator<Item = (Bytes, Option<Bytes>)> {
        self.changes.into_iter()
    }

    /// Refuses a name over [`GROUP_NAME_BYTES_MAX`] and a value over [`VALUE_BYTES_MAX`].
    pub(crate) fn check_sizes(&self) -> Result<(), StoreError> {
        // One byte for the kind stands in front of the name.
        let names = self.changes.keys().map(|key| size(key).saturating_sub(1));
        check_size(names, GROUP_NAME_BYTES_MAX as u64)?;
        check_size(self.changes.values().flatten().map(size), VALUE_BYTES_MAX)
    }
}

fn check_size(sizes: impl Iterator<Item = u64>, bytes_max: u64) -> Result<(), StoreError> {
    match sizes.max() {
        Some(bytes) if bytes > bytes_max => Err(StoreError::TooLarge { bytes, bytes_max }),
        _ => Ok(()),
    }
}

fn size(value: &Bytes) -> u64 {
    value.len() as u64
}

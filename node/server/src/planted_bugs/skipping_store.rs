//! A store whose snapshots for other nodes lack a row.

use std::{ops::ControlFlow, sync::Arc};

use bytes::Bytes;
use ringtail_checkpoint::{
    CheckpointStore, GroupBatch, GroupKey, GroupReplacement, GroupSnapshot, GroupStore, RawRow,
    StoreError,
};
use ringtail_proto::GroupId;

/// First bytes of keys of visit rows and of pages: what a snapshot loses is a site's numbers of an hour.
const SKIPPED_KINDS: [u8; 2] = [4, 5];

/// The real store, but for what it hands to peers.
pub(super) struct SkippingStore(pub(super) Arc<dyn CheckpointStore>);

impl CheckpointStore for SkippingStore {
    fn group(&self, group: GroupId) -> Result<Arc<dyn GroupStore>, StoreError> {
        Ok(Arc::new(SkippingGroup(self.0.group(group)?)))
    }

    fn replace_group(&self, group: GroupId) -> Result<Box<dyn GroupReplacement>, StoreError> {
        self.0.replace_group(group)
    }

    fn remove_group(&self, group: GroupId) -> Result<(), StoreError> {
        self.0.remove_group(group)
    }

    fn persist(&self) -> Result<(), StoreError> {
        self.0.persist()
    }

    fn written_bytes(&self) -> u64 {
        self.0.written_bytes()
    }

    fn disk_bytes(&self) -> u64 {
        self.0.disk_bytes()
    }
}

struct SkippingGroup(Arc<dyn GroupStore>);

impl GroupStore for SkippingGroup {
    fn group(&self) -> GroupId {
        self.0.group()
    }

    fn snapshot(&self) -> Arc<dyn GroupSnapshot> {
        Arc::new(SkippingSnapshot(self.0.snapshot()))
    }

    fn commit(&self, batch: GroupBatch) -> Result<(), StoreError> {
        self.0.commit(batch)
    }

    fn check_room(&self) -> Result<(), StoreError> {
        self.0.check_room()
    }
}

struct SkippingSnapshot(Arc<dyn GroupSnapshot>);

impl GroupSnapshot for SkippingSnapshot {
    fn get(&self, key: &GroupKey) -> Result<Option<Bytes>, StoreError> {
        self.0.get(key)
    }

    fn range(
        &self,
        from: &GroupKey,
        to: &GroupKey,
        visit: &mut dyn FnMut(GroupKey, Bytes) -> ControlFlow<()>,
    ) -> Result<(), StoreError> {
        self.0.range(from, to, visit)
    }

    fn rows_after(&self, after: Option<&[u8]>, bytes_max: u64) -> Result<Vec<RawRow>, StoreError> {
        let mut rows = self.0.rows_after(after, bytes_max)?;
        let is_skipped = |(key, _): &RawRow| {
            let kind = key.first();
            kind.is_some_and(|kind| SKIPPED_KINDS.contains(kind))
        };
        if let Some(skipped) = rows.iter().position(is_skipped) {
            rows.remove(skipped);
        }
        Ok(rows)
    }
}

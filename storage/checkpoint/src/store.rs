//! The traits that a store of checkpoints implements.

use std::{ops::ControlFlow, sync::Arc};

use bytes::Bytes;
use ringtail_proto::GroupId;

use crate::{GroupBatch, GroupKey, StoreError};

/// The largest value that a store takes.
pub const VALUE_BYTES_MAX: u64 = 1 << 30;

/// All groups' rows of one node. Calls block for as long as the disk does.
pub trait CheckpointStore: Send + Sync {
    /// The rows of one group, empty at first.
    ///
    /// # Errors
    /// When the group's rows cannot be opened or made.
    fn group(&self, group: GroupId) -> Result<Arc<dyn GroupStore>, StoreError>;

    /// Makes all batches that were committed before the call durable.
    ///
    /// # Errors
    /// A failure poisons the store: what it holds on disk is unknown until it is opened again.
    fn persist(&self) -> Result<(), StoreError>;

    /// Bytes of values given to the store since it was opened: the numerator of write amplification.
    fn written_bytes(&self) -> u64;

    /// Bytes that the store takes on disk.
    fn disk_bytes(&self) -> u64;
}

/// The rows of one group.
pub trait GroupStore: Send + Sync {
    /// The group.
    fn group(&self) -> GroupId;

    /// The rows as they are now, whatever is committed later. Cheap; but old versions stay on disk while it lives.
    fn snapshot(&self) -> Arc<dyn GroupSnapshot>;

    /// Applies all changes of the batch or none, visible at once, durable after the next [`CheckpointStore::persist`].
    /// Batches become durable in the order in which they were committed: after a crash a later one is never there
    /// without the earlier ones.
    ///
    /// # Errors
    /// See [`StoreError::is_before_the_write`].
    fn commit(&self, batch: GroupBatch) -> Result<(), StoreError>;

    /// Whether a batch of ordinary size would be taken now; asked before work that could not be kept.
    ///
    /// # Errors
    /// [`StoreError::Full`] or [`StoreError::Poisoned`].
    fn check_room(&self) -> Result<(), StoreError>;
}

/// The rows of one group at one moment.
pub trait GroupSnapshot: Send + Sync {
    /// The value of a row.
    ///
    /// # Errors
    /// When the disk cannot be read or its content is damaged; never when the row is absent.
    fn get(&self, key: &GroupKey) -> Result<Option<Bytes>, StoreError>;

    /// Visits the rows `from..=to` in the order of [`GroupKey`] until `visit` breaks.
    ///
    /// # Errors
    /// When the disk cannot be read or its content is damaged.
    fn range(
        &self,
        from: &GroupKey,
        to: &GroupKey,
        visit: &mut dyn FnMut(GroupKey, Bytes) -> ControlFlow<()>,
    ) -> Result<(), StoreError>;
}

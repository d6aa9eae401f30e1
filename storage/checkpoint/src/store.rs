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

    /// Begins to replace all rows of a group by others, which are gathered beside the old ones. Until
    /// [`GroupReplacement::finish`] nobody sees them, and a crash or a drop leaves the old rows as they are.
    ///
    /// # Errors
    /// When room for the new rows cannot be made.
    fn replace_group(&self, group: GroupId) -> Result<Box<dyn GroupReplacement>, StoreError>;

    /// Removes all rows of a group, durably on return. Snapshots that were taken before keep theirs; handles that were
    /// given out before take no more batches.
    ///
    /// # Errors
    /// When the disk cannot be written; the rows are then all there or all gone.
    fn remove_group(&self, group: GroupId) -> Result<(), StoreError>;

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

/// An encoded [`GroupKey`] and its value, as they rest.
pub type RawRow = (Bytes, Bytes);

/// The rows that are to take the place of a group's rows. Calls block for as long as the disk does.
pub trait GroupReplacement: Send {
    /// Takes rows in ascending order of their encoded keys, within a call and from call to call.
    ///
    /// # Errors
    /// [`StoreError::BadRow`] and [`StoreError::TooLarge`] before anything of the call is written. After any error
    /// only dropping is left.
    fn put(&mut self, rows: Vec<RawRow>) -> Result<(), StoreError>;

    /// Puts the new rows in the place of the old ones, atomically and durably. Handles on the old rows take no more
    /// batches; snapshots of them stay.
    ///
    /// # Errors
    /// When the disk cannot be written; either all old or all new rows are there at the next open.
    fn finish(self: Box<Self>) -> Result<(), StoreError>;
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
    /// See [`StoreError::is_before_the_write`]; among them [`StoreError::Replaced`] once the group's rows are others.
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

    /// The rows after a key, or from the first on, in the order of their encoded keys: as many as `bytes_max` bytes of
    /// keys and values hold, but at least one if there is any. Keys are not decoded.
    ///
    /// # Errors
    /// When the disk cannot be read or its content is damaged.
    fn rows_after(&self, after: Option<&[u8]>, bytes_max: u64) -> Result<Vec<RawRow>, StoreError>;
}

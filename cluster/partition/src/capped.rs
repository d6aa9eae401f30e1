//! Since when a replica's floor waits for the archive.

use bytes::Bytes;
use ringtail_checkpoint::{GroupKey, StoreError};
use ringtail_proto::LogIndex;

use crate::group_history::{index_row, read_index};

/// The floor that a replica had when its floors began to wait for the archive. Of entries up to it that no seal holds it
/// may have given up some; of later ones it has given up none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct CappedSince(pub(crate) LogIndex);

impl CappedSince {
    pub(crate) const KEY: GroupKey = GroupKey::named("capped");

    pub(crate) fn encode(self) -> Bytes {
        index_row(self.0)
    }

    pub(crate) fn decode(value: &Bytes) -> Result<Self, StoreError> {
        read_index(value).map(Self)
    }
}

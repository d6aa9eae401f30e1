//! Since when a replica's floor waits for the archive.

use bytes::{BufMut, Bytes, BytesMut};
use ringtail_checkpoint::{GroupKey, StoreError};
use ringtail_proto::LogIndex;

use crate::group_history::{corrupt, versioned};

const VERSION: u8 = 1;

/// The floor that a replica had when its floors began to wait for the archive. Of entries up to it that no seal holds it
/// may have given up some; of later ones it has given up none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct CappedSince(pub(crate) LogIndex);

impl CappedSince {
    pub(crate) const KEY: GroupKey = GroupKey::named("capped");

    pub(crate) fn encode(self) -> Bytes {
        let mut bytes = BytesMut::with_capacity(9);
        bytes.put_u8(VERSION);
        bytes.put_u64(self.0.0);
        bytes.freeze()
    }

    pub(crate) fn decode(value: &Bytes) -> Result<Self, StoreError> {
        let body = versioned(value, VERSION)?;
        let index = <[u8; 8]>::try_from(&body[..]);
        let index = index.map_err(|_| corrupt("since when it waits is cut short"))?;
        Ok(Self(LogIndex(u64::from_be_bytes(index))))
    }
}

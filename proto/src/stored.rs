//! What a partition's log holds: messages, their version byte, and the writer that shares what many events have in common.

mod batch_writer;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use prost::Message;

pub use batch_writer::BatchWriter;

pub use v1::*;

use partition_entry::Body;

mod v1 {
    #![allow(
        missing_docs,
        unreachable_pub,
        clippy::all,
        clippy::unwrap_used,
        clippy::indexing_slicing
    )]
    tonic::include_proto!("ringtail.stored.v1");
}

/// The version in front of entries that change sites; it also says which rules apply follows.
pub const ENTRY_VERSION: u8 = 1;
/// The version in front of entries about archive and mirror: older binaries must not skip them.
const HISTORY_VERSION: u8 = 2;

/// An entry that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EntryError {
    /// No version byte.
    #[error("entry is empty")]
    Empty,
    /// Written by a newer binary.
    #[error("entry has version {found}, this binary knows up to {HISTORY_VERSION}")]
    Newer {
        /// The version found.
        found: u8,
    },
    /// Not the encoding of an entry.
    #[error("entry cannot be decoded: {0}")]
    Malformed(#[from] prost::DecodeError),
}

impl PartitionEntry {
    /// The bytes of a log entry: version byte, then the message.
    #[must_use]
    pub fn to_log(&self) -> Bytes {
        let mut bytes = BytesMut::with_capacity(1 + self.encoded_len());
        bytes.put_u8(self.version());
        self.encode(&mut bytes)
            .expect("the buffer grows as it is written");
        bytes.freeze()
    }

    /// Reads what [`Self::to_log`] wrote; texts share the bytes.
    ///
    /// # Errors
    /// When the entry is empty, newer than this binary, or not an entry.
    pub fn from_log(mut bytes: Bytes) -> Result<Self, EntryError> {
        if bytes.is_empty() {
            return Err(EntryError::Empty);
        }
        match bytes.get_u8() {
            ENTRY_VERSION..=HISTORY_VERSION => Ok(Self::decode(bytes)?),
            found => Err(EntryError::Newer { found }),
        }
    }

    const fn version(&self) -> u8 {
        match self.body {
            Some(Body::Archive(_) | Body::Mirrored(_) | Body::Generation(_)) => HISTORY_VERSION,
            Some(Body::Events(_) | Body::Site(_)) | None => ENTRY_VERSION,
        }
    }
}

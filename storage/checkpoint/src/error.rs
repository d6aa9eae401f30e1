//! What can go wrong in a store.

use std::path::PathBuf;

use ringtail_proto::{ErrorKind, GroupId, RowReadError};

/// An answer that a store could not give, or a change that it did not take.
///
/// After an error of `commit` the batch is either wholly there or not at all. Only [`Self::is_before_the_write`] says
/// that it certainly is not.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// The disk is full, or nearly so; nothing was written and the store goes on.
    #[error("disk is full: {free_bytes} bytes are free, {reserve_bytes} are kept in reserve")]
    Full {
        /// Bytes free on the disk.
        free_bytes: u64,
        /// Bytes that only small batches and the metadata may use.
        reserve_bytes: u64,
    },
    /// The disk ran full in the middle of a write; the store takes no more writes until it is opened again.
    #[error("disk ran full during a write: {message}")]
    RanFull {
        /// What the system said.
        message: String,
    },
    /// An earlier write failed, so nothing is known about what is on disk; open the store again.
    #[error("store takes no writes since an earlier one failed: {cause}")]
    Poisoned {
        /// The first failure.
        cause: String,
    },
    /// The directory was written by a newer version.
    #[error("store in {path} has format {found}, this binary knows up to {known}")]
    Newer {
        /// The store's directory.
        path: PathBuf,
        /// The format found.
        found: u32,
        /// The newest format that this binary knows.
        known: u32,
    },
    /// The directory was written before the first release that keeps its formats.
    #[error("store in {path} has format {found}, this binary reads none older than {known}")]
    Older {
        /// The store's directory.
        path: PathBuf,
        /// The format found.
        found: u32,
        /// The oldest format that this binary knows.
        known: u32,
    },
    /// The directory holds something, but no store of ours.
    #[error("{path} is not a checkpoint store: {message}")]
    NotAStore {
        /// The directory.
        path: PathBuf,
        /// What is wrong with it.
        message: String,
    },
    /// Another process has the store open.
    #[error("store in {path} is in use by another process")]
    InUse {
        /// The store's directory.
        path: PathBuf,
    },
    /// What was read is not what was written.
    #[error("store is damaged: {message}")]
    Corrupt {
        /// What was found.
        message: String,
    },
    /// A name or a value over its limit; nothing was written.
    #[error("a name or value has {bytes} bytes, at most {bytes_max} are allowed")]
    TooLarge {
        /// Size of the name or value.
        bytes: u64,
        /// The limit.
        bytes_max: u64,
    },
    /// The group's rows were replaced or removed after this handle on them was given out; nothing was written.
    #[error("rows of group {group} were replaced, this handle is of the old ones")]
    Replaced {
        /// The group.
        group: GroupId,
    },
    /// A row that is to replace others cannot be one of a group's rows, or does not come in its place; nothing was
    /// written of it.
    #[error("row is refused: {message}")]
    BadRow {
        /// What is wrong with it.
        message: String,
    },
    /// The system refused to read or write.
    #[error("store cannot be accessed: {message}")]
    Io {
        /// What the system said.
        message: String,
    },
}

impl StoreError {
    /// The kind shown at interfaces.
    #[must_use]
    pub const fn kind(&self) -> ErrorKind {
        match self {
            Self::Full { .. } | Self::RanFull { .. } => ErrorKind::StorageFull,
            Self::InUse { .. } | Self::Replaced { .. } => ErrorKind::Conflict,
            Self::BadRow { .. } => ErrorKind::InvalidRequest,
            Self::TooLarge { .. } => ErrorKind::TooLarge,
            Self::Poisoned { .. } => ErrorKind::Unavailable,
            Self::Newer { .. }
            | Self::Older { .. }
            | Self::NotAStore { .. }
            | Self::Corrupt { .. }
            | Self::Io { .. } => ErrorKind::Internal,
        }
    }

    /// True when the batch certainly was not written and the store still takes writes.
    #[must_use]
    pub const fn is_before_the_write(&self) -> bool {
        matches!(
            self,
            Self::Full { .. } | Self::TooLarge { .. } | Self::Replaced { .. } | Self::BadRow { .. }
        )
    }
}

impl From<StoreError> for RowReadError {
    fn from(error: StoreError) -> Self {
        Self {
            message: error.to_string(),
        }
    }
}

//! What can go wrong with the archive.

use ringtail_proto::ErrorKind;

/// An object that could not be written, read, or trusted.
///
/// An object counts only once a log entry names it, so that after a failed write nothing is half done: the same write
/// may be tried again, and what a failed one left is never read.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    /// The address of the archive is not understood.
    #[error("archive address `{url}` is not usable: {message}")]
    Location {
        /// The address; keys are not part of it.
        url: String,
        /// What is wrong with it.
        message: String,
    },
    /// The place is another cluster's archive.
    #[error("the archive at {at} belongs to cluster {found}, this is cluster {expected}")]
    OtherCluster {
        /// Where the archive is.
        at: String,
        /// Whose it is.
        found: String,
        /// Who asked.
        expected: String,
    },
    /// Written by a newer version.
    #[error("{path} has format {found}, this binary knows up to {known}")]
    Newer {
        /// The object.
        path: String,
        /// The format found.
        found: u32,
        /// The newest format known.
        known: u32,
    },
    /// The object is not there.
    #[error("{path} is missing from the archive")]
    Missing {
        /// The object.
        path: String,
    },
    /// The object is not what the manifest says.
    #[error("{path} is damaged: {what}")]
    Damaged {
        /// The object.
        path: String,
        /// What does not fit.
        what: String,
    },
    /// The store's disk is full; the object is not there.
    #[error("no room for {path}: {message}")]
    Full {
        /// The object.
        path: String,
        /// What the store said.
        message: String,
    },
    /// The store refuses the keys, or what they may do.
    #[error("the object store refuses to {doing} {path}: {message}")]
    Refused {
        /// What was tried.
        doing: &'static str,
        /// The object.
        path: String,
        /// What the store said.
        message: String,
    },
    /// The store did not answer, or not with what was asked, for as long as we try. A write may yet have happened.
    #[error("the object store cannot {doing} {path} after {attempts} attempts: {message}")]
    Unavailable {
        /// What was tried.
        doing: &'static str,
        /// The object.
        path: String,
        /// How often.
        attempts: u32,
        /// What the store said last.
        message: String,
    },
    /// An object is larger than an object may be.
    #[error("{path} has {bytes} bytes, {bytes_max} are allowed")]
    TooLarge {
        /// The object.
        path: String,
        /// Its size.
        bytes: u64,
        /// The limit.
        bytes_max: u64,
    },
    /// Two objects hold the same entries, so that events would come twice.
    #[error("{one} and {other} hold the same entries")]
    Overlapping {
        /// One of them.
        one: String,
        /// The other.
        other: String,
    },
    /// What should be archived contradicts itself.
    #[error("entry {index} cannot be archived: {message}")]
    Entry {
        /// Its index.
        index: u64,
        /// What does not fit.
        message: String,
    },
    /// Objects that do not belong together, or none at all.
    #[error("objects cannot become one: {message}")]
    Unlike {
        /// What does not fit.
        message: String,
    },
    /// Rows could not be encoded: a fault of ours.
    #[error("rows cannot be encoded: {message}")]
    Encode {
        /// What the encoder said.
        message: String,
    },
}

impl ArchiveError {
    /// The kind that crosses an interface.
    #[must_use]
    pub const fn kind(&self) -> ErrorKind {
        match self {
            Self::Location { .. } | Self::OtherCluster { .. } => ErrorKind::InvalidRequest,
            Self::Full { .. } => ErrorKind::StorageFull,
            Self::Unavailable { .. } | Self::Refused { .. } => ErrorKind::Unavailable,
            Self::TooLarge { .. } => ErrorKind::TooLarge,
            Self::Newer { .. }
            | Self::Missing { .. }
            | Self::Damaged { .. }
            | Self::Overlapping { .. }
            | Self::Entry { .. }
            | Self::Unlike { .. }
            | Self::Encode { .. } => ErrorKind::Internal,
        }
    }

    pub(crate) fn damaged(path: &str, what: impl std::fmt::Display) -> Self {
        Self::Damaged {
            path: path.to_owned(),
            what: what.to_string(),
        }
    }

    pub(crate) fn encode(error: impl std::fmt::Display) -> Self {
        Self::Encode {
            message: error.to_string(),
        }
    }
}

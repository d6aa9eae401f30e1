//! What can go wrong with the log.

use std::io;
use std::path::Path;
use std::sync::Arc;

use ringtail_proto::{GroupId, LogIndex};
use rustix::io::Errno;

use crate::segment::SegmentId;

/// Why the log could not be opened, or could not do what it was asked.
///
/// Cheap to clone, because one failed write answers every caller of its batch.
#[derive(Debug, Clone, thiserror::Error)]
pub enum LogError {
    /// A record that was durable is damaged, or a segment's own bytes contradict it. Nothing was changed.
    #[error("log segment {segment} is damaged at byte {offset}: {reason}")]
    Corrupt {
        /// The damaged segment.
        segment: SegmentId,
        /// Where the first bad record starts, in bytes from the start of the file.
        offset: u64,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// A segment between two others is not there.
    #[error("log segment {segment} is missing")]
    MissingSegment {
        /// The missing segment.
        segment: SegmentId,
    },
    /// A newer version of Ringtail wrote the segment.
    #[error(
        "log segment {segment} has format version {found}, this binary reads up to {supported}"
    )]
    NewerVersion {
        /// The segment.
        segment: SegmentId,
        /// Version byte of the segment.
        found: u8,
        /// Newest version this binary reads.
        supported: u8,
    },
    /// Entries of a group would not follow each other without a gap.
    #[error("hole in the log of group {group}: expected entry {expected}, found {found}")]
    Hole {
        /// The group.
        group: GroupId,
        /// The only index that may come next.
        expected: LogIndex,
        /// The index that came.
        found: LogIndex,
    },
    /// One entry is larger than a record may be; nothing was written.
    #[error("log entry of {bytes} bytes is over the limit of {bytes_max}")]
    EntryTooLarge {
        /// Size of the payload.
        bytes: u64,
        /// The limit.
        bytes_max: u64,
    },
    /// A limit in [`LogOptions`](crate::LogOptions) contradicts another or the format.
    #[error("log option {option} is {value}, it must be {requirement}")]
    InvalidOption {
        /// Name of the option.
        option: &'static str,
        /// Its value.
        value: u64,
        /// What it should be.
        requirement: &'static str,
    },
    /// The disk, the quota or the table of open files is full; what was asked is proven not to be on disk.
    #[error("no space left for the log: {0}")]
    NoSpace(Arc<io::Error>),
    /// The disk failed. After a failed write or sync nobody knows what is on disk, so the log takes nothing more.
    #[error("log cannot {action} {path}: {source}")]
    Io {
        /// What was tried.
        action: &'static str,
        /// On which file or directory.
        path: Arc<Path>,
        /// The error of the operating system.
        source: Arc<io::Error>,
    },
    /// The log was closed before this could be done; it is not on disk, or not known to be.
    #[error("log is closed")]
    Closed,
}

impl LogError {
    pub(crate) fn io(action: &'static str, path: &Path, source: io::Error) -> Self {
        let kinds = [io::ErrorKind::StorageFull, io::ErrorKind::QuotaExceeded];
        if kinds.contains(&source.kind()) || is_file_limit(&source) {
            return Self::NoSpace(Arc::new(source));
        }
        Self::Io {
            action,
            path: Arc::from(path),
            source: Arc::new(source),
        }
    }

    /// Keeps a missing space an ordinary I/O error where its absence from disk is not proven. Where a file could not
    /// even be opened, nothing was tried, so that is always proven.
    pub(crate) fn unproven(self, action: &'static str, path: &Path) -> Self {
        match self {
            Self::NoSpace(source) if !is_file_limit(&source) => Self::Io {
                action,
                path: Arc::from(path),
                source,
            },
            other => other,
        }
    }
}

/// The process or the system has too many open files.
fn is_file_limit(error: &io::Error) -> bool {
    matches!(
        Errno::from_io_error(error),
        Some(Errno::MFILE | Errno::NFILE)
    )
}

impl From<LogError> for io::Error {
    fn from(error: LogError) -> Self {
        let kind = match &error {
            LogError::NoSpace(_) => io::ErrorKind::StorageFull,
            LogError::Io { source, .. } => source.kind(),
            LogError::Closed => io::ErrorKind::BrokenPipe,
            LogError::EntryTooLarge { .. } | LogError::InvalidOption { .. } => {
                io::ErrorKind::InvalidInput
            }
            LogError::Corrupt { .. }
            | LogError::MissingSegment { .. }
            | LogError::NewerVersion { .. }
            | LogError::Hole { .. } => io::ErrorKind::InvalidData,
        };
        Self::new(kind, error)
    }
}

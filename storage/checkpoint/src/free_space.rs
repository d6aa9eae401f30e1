//! How much room the disk has.

use std::{io, path::PathBuf};

/// Tells how much room the disk has; a seam, so that tests can fill a disk.
pub trait FreeSpace: Send + Sync {
    /// Bytes that this process may still write.
    ///
    /// # Errors
    /// When the system does not tell.
    fn free_bytes(&self) -> io::Result<u64>;
}

/// Asks the file system that holds a directory.
pub struct DiskFreeSpace {
    directory: PathBuf,
}

impl DiskFreeSpace {
    /// The file system that holds `directory`.
    #[must_use]
    pub const fn new(directory: PathBuf) -> Self {
        Self { directory }
    }
}

impl FreeSpace for DiskFreeSpace {
    fn free_bytes(&self) -> io::Result<u64> {
        let answer = rustix::fs::statvfs(&self.directory)?;
        Ok(answer.f_bavail.saturating_mul(answer.f_frsize))
    }
}

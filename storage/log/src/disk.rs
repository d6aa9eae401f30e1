//! The seam through which the log reaches a disk.

use std::io::{self, IoSlice};
use std::path::Path;
use std::sync::Arc;

/// A file system, reduced to what the log needs. Every method blocks.
pub trait Disk: Send + Sync + 'static {
    /// Creates the directory and its parents; fine if it exists.
    fn create_directory(&self, directory: &Path) -> io::Result<()>;

    /// Names of the files (not directories) in the directory, in no order.
    fn list_files(&self, directory: &Path) -> io::Result<Vec<String>>;

    /// Opens an existing file for reading and writing.
    fn open(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>>;

    /// Creates an empty file, or empties the one that is there.
    fn create(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>>;

    /// Moves a file; durable after [`Disk::sync_directory`] on both directories.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Removes a file; durable after [`Disk::sync_directory`].
    fn remove(&self, path: &Path) -> io::Result<()>;

    /// Makes created, moved and removed names of the directory durable.
    fn sync_directory(&self, directory: &Path) -> io::Result<()>;
}

/// An open file. Every method blocks.
pub trait DiskFile: Send + Sync + 'static {
    /// Length in bytes.
    fn bytes(&self) -> io::Result<u64>;

    /// Fills the buffer from the offset, or fails with `UnexpectedEof`.
    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()>;

    /// Writes all slices, one after the other, from the offset on.
    fn write_all_at(&self, slices: &mut [IoSlice<'_>], offset: u64) -> io::Result<()>;

    /// Cuts the file to this length, in bytes.
    fn truncate(&self, bytes: u64) -> io::Result<()>;

    /// Returns once everything written is on disk. After an error nobody knows what is on disk.
    fn sync_data(&self) -> io::Result<()>;
}

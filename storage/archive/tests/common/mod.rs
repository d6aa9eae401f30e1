//! What the tests of the archive share.
#![allow(
    dead_code,
    unreachable_pub,
    clippy::unwrap_used,
    clippy::indexing_slicing
)]

pub mod faults;
pub mod log;
pub mod s3;
pub mod wire;

use ringtail_archive::{ArchiveOptions, Location};

/// Options that fail fast where waiting is not what a test is about.
pub fn options(location: Location) -> ArchiveOptions {
    ArchiveOptions {
        retry_ms_max: 300,
        ..ArchiveOptions::new(location)
    }
}

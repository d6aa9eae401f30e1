//! Limits of the log.

use std::time::Duration;

use crate::error::LogError;

/// Limits of the log; each has a default that suits a node.
#[derive(Clone, Debug)]
pub struct LogOptions {
    /// A segment is sealed once it has reached this size, in bytes. Default 64 MiB, at most 1 GiB.
    pub segment_bytes_max: u64,
    /// One group commit takes no further request once it holds this much, in bytes. Default 8 MiB.
    pub batch_bytes_max: u64,
    /// Largest payload of one entry, in bytes. Default 32 MiB.
    pub entry_bytes_max: u64,
    /// Recent entries held in memory for each group, in bytes. Entries not yet on disk come on top. Default 2 MiB.
    pub group_cache_bytes_max: u64,
    /// Purged segments move to `kept/` instead of going: set while nobody archives what they hold. Default yes.
    pub keeps_purged: bool,
    /// How long to wait before a write that found the disk full is tried again. Default 250 ms.
    pub space_retry_interval: Duration,
}

impl Default for LogOptions {
    fn default() -> Self {
        Self {
            segment_bytes_max: 64 << 20,
            batch_bytes_max: 8 << 20,
            entry_bytes_max: 32 << 20,
            group_cache_bytes_max: 2 << 20,
            keeps_purged: true,
            space_retry_interval: Duration::from_millis(250),
        }
    }
}

impl LogOptions {
    /// The sum of what one segment can grow to must stay within the format's 32-bit offsets.
    pub(crate) fn validate(&self) -> Result<(), LogError> {
        let limits = [
            ("segment_bytes_max", self.segment_bytes_max),
            ("batch_bytes_max", self.batch_bytes_max),
            ("entry_bytes_max", self.entry_bytes_max),
        ];
        for (option, value) in limits {
            if value == 0 || value > 1 << 30 {
                return Err(LogError::InvalidOption {
                    option,
                    value,
                    requirement: "between 1 and 1 GiB",
                });
            }
        }
        Ok(())
    }
}

//! When and how much.

use ringtail_archive::MergeOptions;

/// When history is carried on, and how much of it at once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HistoryOptions {
    /// Time between two looks at what is to be done. Default 2 seconds.
    pub round_interval_ms: u64,
    /// Groups that are looked after at once. Default 4.
    pub groups_at_once_max: usize,
    /// A group is sealed at the latest when something waits for so long. Default 10 minutes.
    pub seal_age_ms_max: u64,
    /// A group is sealed at the latest after so much of its log. Default 32 MiB.
    pub seal_log_bytes_max: u64,
    /// So much log goes into one seal, but at least one entry. Default 64 MiB.
    pub seal_bytes_max: u64,
    /// So many events go into one seal, but at least one entry; about 300 bytes each are in memory. Default 1,000,000.
    pub seal_events_max: u64,
    /// Time between two looks for objects to be merged. Default a minute.
    pub merge_interval_ms: u64,
    /// Which objects are merged.
    pub merge: MergeOptions,
    /// Time between two looks for objects that nobody names. Default 10 minutes.
    pub clean_interval_ms: u64,
    /// So long an object stays after it was replaced: who reads it finishes, or finds out and begins again. Default an
    /// hour.
    pub grace_ms: u64,
    /// A build of a generation is written after so many events. Default 200,000.
    pub build_events_max: usize,
}

impl Default for HistoryOptions {
    fn default() -> Self {
        Self {
            round_interval_ms: 2_000,
            groups_at_once_max: 4,
            seal_age_ms_max: 10 * 60_000,
            seal_log_bytes_max: 32 << 20,
            seal_bytes_max: 64 << 20,
            seal_events_max: 1_000_000,
            merge_interval_ms: 60_000,
            merge: MergeOptions::default(),
            clean_interval_ms: 10 * 60_000,
            grace_ms: 60 * 60_000,
            build_events_max: 200_000,
        }
    }
}

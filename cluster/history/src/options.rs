//! When and how much.

/// When history is carried on, and how much of it at once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HistoryOptions {
    /// Time between two looks at what is to be done. Default 2 seconds.
    pub round_interval_ms: u64,
    /// A group is sealed at the latest when something waits for so long. Default 10 minutes.
    pub seal_age_ms_max: u64,
    /// A group is sealed at the latest after so much of its log. Default 32 MiB.
    pub seal_log_bytes_max: u64,
    /// So much log goes into one seal, but at least one entry. Default 64 MiB.
    pub seal_bytes_max: u64,
    /// A build of a generation is written after so many events. Default 200,000.
    pub build_events_max: usize,
}

impl Default for HistoryOptions {
    fn default() -> Self {
        Self {
            round_interval_ms: 2_000,
            seal_age_ms_max: 10 * 60_000,
            seal_log_bytes_max: 32 << 20,
            seal_bytes_max: 64 << 20,
            build_events_max: 200_000,
        }
    }
}

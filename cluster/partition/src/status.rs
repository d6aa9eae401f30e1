//! How a partition is.

use ringtail_proto::{GroupId, LogIndex, UnixMillis};

/// How a partition is, for `status`, tests and humans.
#[derive(Clone, Debug, PartialEq)]
pub struct PartitionStatus {
    /// The partition.
    pub group: GroupId,
    /// There is a state to tell of; before, questions are refused.
    pub is_whole: bool,
    /// Bytes that came so far of a snapshot that is being received.
    pub received_bytes: Option<u64>,
    /// The last applied entry.
    pub applied: Option<LogIndex>,
    /// The highest applied stamp.
    pub stamp: UnixMillis,
    /// Everything up to here is in the store, on disk.
    pub floor: Option<LogIndex>,
    /// This node leads the group.
    pub is_leader: bool,
    /// Sites with an actor.
    pub active_sites: usize,
    /// Sites whose rows are behind their state.
    pub dirty_sites: usize,
    /// Sites whose last checkpoint failed; each is tried again, less and less often.
    pub failing_sites: usize,
    /// The longest time that a site has been dirty.
    pub dirty_age_ms: u64,
    /// The longest time that late events have waited.
    pub late_age_ms: u64,
    /// Bytes of commands applied since start.
    pub log_bytes: u64,
    /// Bytes of values given to the store since start.
    pub value_bytes: u64,
    /// Events applied since start.
    pub events: u64,
    /// Checkpoints since start.
    pub checkpoints: u64,
    /// Entries skipped since start because a site could not apply them.
    pub poisoned_entries: u64,
    /// Why the partition has stopped.
    pub failure: Option<String>,
}

impl PartitionStatus {
    /// Value bytes given to the store for each byte of events logged; none before the first.
    #[must_use]
    pub fn write_amplification(&self) -> Option<f64> {
        (self.log_bytes > 0).then(|| self.value_bytes as f64 / self.log_bytes as f64)
    }
}

//! How far the mirror of a group is.

use ringtail_proto::LogIndex;

/// How far the mirror of a group that this node leads is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GroupMirror {
    /// The mirror has what entries up to here changed.
    pub through: LogIndex,
    /// Checkpoints hold what entries up to here changed: so far it could be.
    pub settled: LogIndex,
    /// Sites that have notes or were never written, and were not written in the last round.
    pub sites_left: usize,
    /// Why they were not, if something failed.
    pub failure: Option<String>,
}

impl GroupMirror {
    /// Entries that the mirror is behind.
    #[must_use]
    pub const fn lag_entries(&self) -> u64 {
        self.settled.0.saturating_sub(self.through.0)
    }
}

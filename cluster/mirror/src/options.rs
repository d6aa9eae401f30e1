//! When and how much.

/// When the mirror is carried on, and how much of it at once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MirrorerOptions {
    /// Time between two looks at what is to be done. Default 2 seconds.
    pub round_interval_ms: u64,
    /// Groups at once. Default 2.
    pub groups_at_once: usize,
    /// Sites of one group at once. Default 4.
    pub sites_at_once: usize,
    /// Values of one site in memory, but at least one. Default 4 MiB.
    pub piece_bytes_max: u64,
    /// Keys of changed rows in memory, but at least those of one site. Default 65,536.
    pub noted_keys_max: usize,
    /// A group is told at most this often how far its mirror is: it costs an entry. Default 10 seconds.
    pub tell_interval_ms: u64,
    /// Time between two looks at what readers need no longer. Default 60 seconds.
    pub prune_interval_ms: u64,
}

impl Default for MirrorerOptions {
    fn default() -> Self {
        Self {
            round_interval_ms: 2_000,
            groups_at_once: 2,
            sites_at_once: 4,
            piece_bytes_max: 4 << 20,
            noted_keys_max: 1 << 16,
            tell_interval_ms: 10_000,
            prune_interval_ms: 60_000,
        }
    }
}

//! Limits of the partitions.

/// Limits of the partitions of one node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartitionOptions {
    /// Sites with an actor, on this node. Beyond it the longest unused are written and put to rest. Default 20,000.
    pub sites_active_max: usize,
    /// A clean site that nobody asked for is put to rest after this time. Default 5 minutes.
    pub site_idle_ms_max: u64,
    /// A site is dirty for at most this time. Default 10 minutes.
    pub dirty_age_ms_max: u64,
    /// Late events wait for at most this time. Default 5 minutes.
    pub late_age_ms_max: u64,
    /// A site is dirty for at most this much log of the node: it bounds what a restart replays. Default 96 MiB.
    pub dirty_log_bytes_max: u64,
    /// Checkpoints in one round of duties, the oldest first. Default 4,096.
    pub round_checkpoints_max: usize,
    /// Pieces of background roll-up in one round of duties. Default 256.
    pub round_roll_ups_max: usize,
    /// Time between rounds of duties. Default 2 seconds.
    pub round_interval_ms: u64,
    /// The floor follows at the latest after this time. Default 60 seconds.
    pub floor_age_ms_max: u64,
    /// The floor follows at the latest after this much log of the group. Default 8 MiB.
    pub floor_log_bytes_max: u64,
    /// The floor follows at the latest after this much log of the node: many groups together must not fall far behind.
    /// Default 32 MiB.
    pub floor_node_log_bytes_max: u64,
    /// Messages that wait for one site. Default 64.
    pub mailbox_messages_max: usize,
    /// Bytes of snapshots that leave the node in a second, over all partitions: a joiner must not slow ingest down.
    /// Default 32 MiB.
    pub snapshot_bytes_per_second_max: u64,
    /// Bytes of one row's value that a snapshot may bring: it is put together in memory. Default 1 GiB, what the store
    /// takes.
    pub snapshot_value_bytes_max: u64,
    /// Bytes of log that the rebuild of a site reads at a time, but at least one entry. Default 8 MiB.
    pub rebuild_bytes_max: u64,
    /// Somebody archives the log: it is given up only below the first entry that the archive needs. A group whose archive
    /// has begun keeps to that in any case. Default no.
    pub archives: bool,
    /// Each node has an archive of its own: the log goes only when this node holds the objects, too. Default no.
    pub holds_objects: bool,
    /// Somebody mirrors the rows to a store elsewhere. Default no.
    pub mirrors: bool,
    /// Questions that wait for the sites of one partition; one more is refused. Default 4,096.
    pub questions_max: usize,
}

impl Default for PartitionOptions {
    fn default() -> Self {
        Self {
            sites_active_max: 20_000,
            site_idle_ms_max: 5 * 60_000,
            dirty_age_ms_max: 10 * 60_000,
            late_age_ms_max: 5 * 60_000,
            dirty_log_bytes_max: 96 << 20,
            round_checkpoints_max: 4_096,
            round_roll_ups_max: 256,
            round_interval_ms: 2_000,
            floor_age_ms_max: 60_000,
            floor_log_bytes_max: 8 << 20,
            floor_node_log_bytes_max: 32 << 20,
            mailbox_messages_max: 64,
            snapshot_bytes_per_second_max: 32 << 20,
            snapshot_value_bytes_max: ringtail_checkpoint::VALUE_BYTES_MAX,
            rebuild_bytes_max: 8 << 20,
            archives: false,
            holds_objects: false,
            mirrors: false,
            questions_max: 4_096,
        }
    }
}

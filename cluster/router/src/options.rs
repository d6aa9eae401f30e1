//! Bounds of the router.

use crate::RouteError;

/// Bounds of the router. Reaching one is a typed error, a metric and an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RouterOptions {
    /// Events of one entry, and of one submission.
    pub batch_events_max: usize,
    /// Bytes of one entry, and of one submission, counted before attributes are shared.
    pub batch_bytes_max: usize,
    /// Entries of one group on their way to the disk; while they are, submissions gather into the next.
    ///
    /// More than one makes entries small and no acknowledgement earlier: the first to come after a sync has begun takes
    /// the place in the next one alone, and all others wait for the sync after that.
    pub entries_in_flight_max: usize,
    /// Entries from other nodes and from the spool that are on their way to the disk of one group.
    pub written_entries_in_flight_max: usize,
    /// Entries of one group that are on disk but not applied.
    pub entries_unapplied_max: usize,
    /// Submissions of one group that wait for their entry.
    pub group_submissions_max: usize,
    /// Events of one site between submission and verdict.
    pub site_events_in_flight_max: usize,
    /// Bytes of all sites between submission and verdict.
    pub bytes_in_flight_max: usize,
    /// How long events wait for a quorum, in milliseconds; then they are spooled, and commands and imports refused.
    pub quorum_wait_ms_max: u64,
    /// How long whoever submitted waits for the verdict on what is committed, in milliseconds.
    pub applied_wait_ms_max: u64,
    /// The longest pause between two attempts of a lane, in milliseconds; a new leader is asked at once.
    pub retry_pause_ms_max: u64,
    /// Entries on their way to one peer, and from one.
    pub forward_entries_max: usize,
    /// Bytes on their way to one peer.
    pub forward_bytes_max: usize,
    /// Failures in a row after which a peer is given a rest.
    pub breaker_failures_max: u32,
    /// How long such a rest is, in milliseconds.
    pub breaker_open_ms: u64,
    /// Own files in the spool; of copies as many again.
    pub spool_files_max: usize,
    /// Bytes of own files in the spool.
    pub spool_bytes_max: u64,
    /// Bytes of copies of other nodes' files.
    pub spool_copies_bytes_max: u64,
    /// How long a node may take to keep a copy, in milliseconds.
    pub spool_copy_wait_ms_max: u64,
    /// How long the owner of copies has to be gone before their keeper forwards them, in seconds.
    pub spool_adopt_seconds_min: u64,
    /// How fast each group's spooled events are forwarded.
    pub spool_forward_bytes_per_second_max: u64,
}

impl Default for RouterOptions {
    fn default() -> Self {
        Self {
            batch_events_max: 8_192,
            batch_bytes_max: 4 << 20,
            entries_in_flight_max: 1,
            written_entries_in_flight_max: 16,
            entries_unapplied_max: 32,
            group_submissions_max: 16_384,
            site_events_in_flight_max: 65_536,
            bytes_in_flight_max: 256 << 20,
            quorum_wait_ms_max: 1_500,
            applied_wait_ms_max: 10_000,
            retry_pause_ms_max: 50,
            forward_entries_max: 512,
            forward_bytes_max: 64 << 20,
            breaker_failures_max: 3,
            breaker_open_ms: 250,
            spool_files_max: 100_000,
            spool_bytes_max: 1 << 30,
            spool_copies_bytes_max: 1 << 30,
            spool_copy_wait_ms_max: 500,
            spool_adopt_seconds_min: 60,
            spool_forward_bytes_per_second_max: 32 << 20,
        }
    }
}

impl RouterOptions {
    /// Checks that the bounds leave room for one largest submission.
    ///
    /// # Errors
    /// [`RouteError::InvalidOption`] names the first that does not.
    pub fn check(&self) -> Result<(), RouteError> {
        let floors = [
            ("batch_events_max", self.batch_events_max, 1),
            ("batch_bytes_max", self.batch_bytes_max, 1),
            ("entries_in_flight_max", self.entries_in_flight_max, 1),
            (
                "written_entries_in_flight_max",
                self.written_entries_in_flight_max,
                1,
            ),
            (
                "entries_unapplied_max",
                self.entries_unapplied_max,
                self.entries_in_flight_max,
            ),
            ("group_submissions_max", self.group_submissions_max, 1),
            (
                "site_events_in_flight_max",
                self.site_events_in_flight_max,
                self.batch_events_max,
            ),
            (
                "bytes_in_flight_max",
                self.bytes_in_flight_max,
                self.batch_bytes_max,
            ),
            ("forward_entries_max", self.forward_entries_max, 1),
            (
                "forward_bytes_max",
                self.forward_bytes_max,
                self.batch_bytes_max,
            ),
            (
                "breaker_failures_max",
                self.breaker_failures_max as usize,
                1,
            ),
            ("spool_files_max", self.spool_files_max, 1),
        ];
        match floors.into_iter().find(|(_, value, floor)| value < floor) {
            Some((option, value, floor)) => Err(RouteError::InvalidOption {
                option,
                value,
                floor,
            }),
            None => Ok(()),
        }
    }
}

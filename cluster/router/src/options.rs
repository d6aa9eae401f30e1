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
    /// Entries of one group that are on disk but not applied.
    pub entries_unapplied_max: usize,
    /// Submissions of one group that wait for their entry.
    pub group_submissions_max: usize,
    /// Events of one site between submission and verdict.
    pub site_events_in_flight_max: usize,
    /// Bytes of all sites between submission and verdict.
    pub bytes_in_flight_max: usize,
}

impl Default for RouterOptions {
    fn default() -> Self {
        Self {
            batch_events_max: 8_192,
            batch_bytes_max: 4 << 20,
            entries_in_flight_max: 1,
            entries_unapplied_max: 32,
            group_submissions_max: 16_384,
            site_events_in_flight_max: 65_536,
            bytes_in_flight_max: 256 << 20,
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

//! When a replica last knew that its group had not left it behind.

use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

/// The last heartbeat that this replica agreed with, of a leader that a majority stands behind.
#[derive(Default)]
pub(crate) struct Contact(Mutex<Option<Instant>>);

impl Contact {
    /// The leader was heard now, and this replica's log is a part of the leader's.
    pub(crate) fn renew(&self) {
        *self.0.lock() = Some(Instant::now());
    }

    /// How long ago that was; none since the start.
    pub(crate) fn age(&self) -> Option<Duration> {
        self.0.lock().map(|heard| heard.elapsed())
    }
}

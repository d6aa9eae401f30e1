//! The clock as a seam.

use std::time::{Duration, Instant, SystemTime};

use ringtail_proto::UnixMillis;

/// Where stamps and durations come from: the machine's clocks, or a simulator's.
pub trait Clock: Send + Sync + 'static {
    /// The wall clock; it may jump, also backwards.
    fn now(&self) -> UnixMillis;

    /// Time since some fixed moment; it never falls. For measuring only.
    fn elapsed(&self) -> Duration;
}

/// The machine's clocks.
#[derive(Debug)]
pub struct SystemClock {
    start: Instant,
}

impl SystemClock {
    /// The machine's clocks.
    #[must_use]
    #[allow(
        clippy::disallowed_methods,
        reason = "this is the implementation behind the seam"
    )]
    pub fn new() -> Self {
        Self {
            start: Instant::now(),
        }
    }
}

impl Default for SystemClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for SystemClock {
    #[allow(
        clippy::disallowed_methods,
        reason = "this is the implementation behind the seam"
    )]
    fn now(&self) -> UnixMillis {
        let since_epoch = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        // A clock before 1970 is not set; the stamp's floor takes over.
        UnixMillis(since_epoch.map_or(0, |duration| duration.as_millis() as i64))
    }

    fn elapsed(&self) -> Duration {
        self.start.elapsed()
    }
}

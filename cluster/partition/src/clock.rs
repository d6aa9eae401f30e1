//! Time as the duties see it. Apply never looks at it.

use std::time::{Duration, Instant};

use futures::future::BoxFuture;

/// A clock that never goes back; a seam, so that tests and the simulator decide how old things are.
pub trait Clock: Send + Sync + 'static {
    /// Milliseconds since some fixed moment.
    fn monotonic_ms(&self) -> u64;

    /// Waits before something is tried again.
    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        Box::pin(tokio::time::sleep(duration))
    }
}

/// The machine's clock.
pub struct SystemClock {
    start: Instant,
}

impl SystemClock {
    /// Counts from now.
    #[must_use]
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
    fn monotonic_ms(&self) -> u64 {
        // 584 million years fit.
        self.start.elapsed().as_millis() as u64
    }
}

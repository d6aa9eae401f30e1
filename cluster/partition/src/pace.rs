//! How fast bytes may leave.

use std::time::Duration;

use parking_lot::Mutex;

/// Spreads bytes over time. Whoever has sent some asks how long to wait before sending more; all share one rate.
#[derive(Debug)]
pub(crate) struct Pace {
    bytes_per_second_max: u64,
    /// When everything that was sent so far may have been sent, in nanoseconds of the clock.
    free_at_ns: Mutex<u64>,
}

impl Pace {
    pub(crate) const fn new(bytes_per_second_max: u64) -> Self {
        Self {
            bytes_per_second_max,
            free_at_ns: Mutex::new(0),
        }
    }

    /// Counts bytes that go now; the time from now on until the next ones may go.
    pub(crate) fn spend(&self, now_ms: u64, bytes: u64) -> Duration {
        let now_ns = now_ms.saturating_mul(1_000_000);
        let cost_ns =
            u128::from(bytes) * 1_000_000_000 / u128::from(self.bytes_per_second_max.max(1));
        let cost_ns = u64::try_from(cost_ns).unwrap_or(u64::MAX);
        let mut free_at_ns = self.free_at_ns.lock();
        *free_at_ns = now_ns.max(*free_at_ns).saturating_add(cost_ns);
        Duration::from_nanos(*free_at_ns - now_ns)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_senders_together_keep_to_the_rate_and_rest_is_not_saved_up() {
        let pace = Pace::new(1_000);
        assert_eq!(pace.spend(0, 500), Duration::from_millis(500));
        assert_eq!(pace.spend(0, 500), Duration::from_secs(1), "another sender");
        assert_eq!(pace.spend(900, 100), Duration::from_millis(200));
        assert_eq!(pace.spend(60_000, 1_000), Duration::from_secs(1));
        assert_eq!(
            Pace::new(0).spend(u64::MAX, 5),
            Duration::ZERO,
            "no overflow"
        );
    }
}

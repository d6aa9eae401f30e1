//! When servers fail again and again they are left alone for a while; then one request tries.

use std::time::{Duration, Instant};

/// Failures in a row after which nothing is asked for a while.
const FAILURES_MAX: u32 = 5;
const PAUSE_MIN: Duration = Duration::from_millis(50);
const PAUSE_MAX: Duration = Duration::from_secs(10);

/// The pause before the attempt after `failures` failed ones: doubled each time, up to 10 s, less up to half of it by
/// chance (`jitter` in 0..=1), so that many who failed together do not come back together.
pub(super) fn pause(failures: u32, jitter: f64) -> Duration {
    let doubled = PAUSE_MIN.saturating_mul(1 << failures.saturating_sub(1).min(16));
    doubled
        .min(PAUSE_MAX)
        .mul_f64(1.0 - jitter.clamp(0.0, 1.0) / 2.0)
}

/// Counts failures in a row. Knows no clock.
#[derive(Debug, Default)]
pub(super) struct Breaker {
    failures: u32,
    paused_until: Option<Instant>,
    /// Until when the one request that tries may take; then another one may.
    probe_until: Option<Instant>,
}

/// What a breaker lets through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Passage {
    /// All requests.
    Open,
    /// One request, to see whether the others may.
    Probing,
    /// None.
    Closed,
}

impl Breaker {
    /// Whether a request may be sent; else when it is worth asking again. A request that tries has `probe_max`.
    pub(super) fn admit(&mut self, now: Instant, probe_max: Duration) -> Result<(), Duration> {
        let Some(until) = self.paused_until else {
            return Ok(());
        };
        // The one that tries may have been given up without a word.
        let busy_until = self.probe_until.map_or(until, |probe| probe.max(until));
        if now < busy_until {
            return Err((busy_until - now).min(PAUSE_MAX));
        }
        self.probe_until = Some(now + probe_max);
        Ok(())
    }

    /// The servers answered.
    pub(super) fn succeed(&mut self) {
        *self = Self::default();
    }

    /// The servers did not answer.
    pub(super) fn fail(&mut self, now: Instant, jitter: f64) {
        self.failures = self.failures.saturating_add(1);
        self.probe_until = None;
        if self.failures >= FAILURES_MAX {
            let pauses = self.failures - FAILURES_MAX + 1;
            self.paused_until = Some(now + pause(pauses, jitter));
        }
    }

    pub(super) fn passage(&self, now: Instant) -> Passage {
        match self.paused_until {
            None => Passage::Open,
            Some(until) if now < until => Passage::Closed,
            Some(_) => Passage::Probing,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PROBE: Duration = Duration::from_secs(5);

    #[test]
    fn pauses_double_from_50_ms_to_10_s() {
        let check = |failures, expect| {
            assert_eq!(pause(failures, 0.0).as_millis(), expect);
            assert_eq!(pause(failures, 1.0).as_millis(), expect / 2);
        };
        check(0, 50);
        check(1, 50);
        check(2, 100);
        check(8, 6_400);
        check(9, 10_000);
        check(u32::MAX, 10_000);
    }

    #[test]
    fn it_closes_after_failures_in_a_row_only() {
        let now = Instant::now();
        let mut breaker = Breaker::default();
        for _ in 0..3 {
            for _ in 1..FAILURES_MAX {
                breaker.fail(now, 0.0);
                assert_eq!(breaker.admit(now, PROBE), Ok(()));
            }
            breaker.succeed();
        }
        for _ in 0..FAILURES_MAX {
            breaker.fail(now, 0.0);
        }
        assert_eq!(breaker.admit(now, PROBE), Err(PAUSE_MIN));
        assert_eq!(breaker.passage(now), Passage::Closed);
    }

    #[test]
    fn one_request_tries_and_decides_for_all() {
        let mut now = Instant::now();
        let mut breaker = Breaker::default();
        for _ in 0..FAILURES_MAX {
            breaker.fail(now, 0.0);
        }
        now += PAUSE_MIN;
        assert_eq!(breaker.passage(now), Passage::Probing);
        assert_eq!(breaker.admit(now, PROBE), Ok(()));
        assert_eq!(breaker.admit(now, PROBE), Err(PROBE));
        breaker.fail(now, 0.0);
        assert_eq!(breaker.admit(now, PROBE), Err(2 * PAUSE_MIN));
        now += 2 * PAUSE_MIN;
        assert_eq!(breaker.admit(now, PROBE), Ok(()));
        breaker.succeed();
        assert_eq!(breaker.admit(now, PROBE), Ok(()));
        assert_eq!(breaker.passage(now), Passage::Open);
    }

    #[test]
    fn a_trying_request_that_was_given_up_makes_room_for_another() {
        let mut now = Instant::now();
        let mut breaker = Breaker::default();
        for _ in 0..FAILURES_MAX {
            breaker.fail(now, 0.0);
        }
        now += PAUSE_MIN;
        assert_eq!(breaker.admit(now, PROBE), Ok(()));
        now += PROBE;
        assert_eq!(breaker.admit(now, PROBE), Ok(()));
    }
}

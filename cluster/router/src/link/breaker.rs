//! When a peer is given a rest. Pure.

use std::time::Duration;

/// Lets calls to one peer through, or not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Breaker {
    failures_max: u32,
    open: Duration,
    state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// So many failures in a row.
    Closed { failures: u32 },
    /// Nothing passes before this time.
    Open { until: Duration },
    /// One call is on its way to find out; until this time no other passes.
    HalfOpen { until: Duration },
}

impl Breaker {
    /// Opens after so many failures in a row, for so long.
    pub(crate) const fn new(failures_max: u32, open: Duration) -> Self {
        Self {
            failures_max,
            open,
            state: State::Closed { failures: 0 },
        }
    }

    /// True when a call may go now. After a rest that is one call; a second only if nothing is heard of the first.
    pub(crate) fn try_pass(&mut self, now: Duration) -> bool {
        match self.state {
            State::Closed { .. } => true,
            State::Open { until } | State::HalfOpen { until } if now < until => false,
            State::Open { .. } | State::HalfOpen { .. } => {
                let until = now + self.open;
                self.state = State::HalfOpen { until };
                true
            }
        }
    }

    /// The peer answered, whatever it said.
    pub(crate) const fn succeeded(&mut self) {
        self.state = State::Closed { failures: 0 };
    }

    /// The peer could not be reached, or was silent.
    pub(crate) fn failed(&mut self, now: Duration) {
        let failures = match self.state {
            State::Closed { failures } => failures + 1,
            State::HalfOpen { .. } => self.failures_max,
            State::Open { .. } => return,
        };
        self.state = match failures >= self.failures_max {
            true => State::Open {
                until: now + self.open,
            },
            false => State::Closed { failures },
        };
    }

    /// As the gauge shows it: 0 closed, 1 half-open, 2 open.
    pub(crate) const fn gauge(&self) -> f64 {
        match self.state {
            State::Closed { .. } => 0.0,
            State::HalfOpen { .. } => 1.0,
            State::Open { .. } => 2.0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn at(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    #[test]
    fn it_opens_after_failures_in_a_row_and_closes_after_one_good_call() {
        let mut breaker = Breaker::new(3, at(500));
        for now in [0, 1] {
            breaker.failed(at(now));
            assert!(breaker.try_pass(at(now)));
        }
        breaker.succeeded();
        for now in [10, 11, 12] {
            assert!(breaker.try_pass(at(now)), "an answer starts the count anew");
            breaker.failed(at(now));
        }
        assert!(!breaker.try_pass(at(511)));
        assert!(breaker.try_pass(at(512)), "the one that finds out");
        assert!(!breaker.try_pass(at(513)), "the others wait for it");
        breaker.failed(at(520));
        assert!(!breaker.try_pass(at(1_019)));
        assert!(breaker.try_pass(at(1_020)));
        breaker.succeeded();
        assert!(breaker.try_pass(at(1_021)) && breaker.try_pass(at(1_021)));
    }

    #[test]
    fn a_call_that_is_never_heard_of_again_does_not_block_the_next() {
        let mut breaker = Breaker::new(1, at(100));
        breaker.failed(at(0));
        breaker.failed(at(50));
        assert!(breaker.try_pass(at(100)), "late failures prolong nothing");
        assert!(!breaker.try_pass(at(199)));
        assert!(breaker.try_pass(at(200)));
    }

    #[test]
    fn the_gauge_tells_the_three_states_apart() {
        let mut breaker = Breaker::new(1, at(100));
        assert!((breaker.gauge() - 0.0).abs() < f64::EPSILON);
        breaker.failed(at(0));
        assert!((breaker.gauge() - 2.0).abs() < f64::EPSILON);
        assert!(breaker.try_pass(at(100)));
        assert!((breaker.gauge() - 1.0).abs() < f64::EPSILON);
    }
}

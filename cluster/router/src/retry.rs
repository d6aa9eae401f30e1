//! Whether an entry is tried again, and when. Pure.

use std::time::Duration;

use crate::RouteError;

/// The first pause of a lane whose entry failed.
const PAUSE_MS_MIN: u64 = 4;

/// Why an entry is tried again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RetryReason {
    NotLeader,
    Unavailable,
    InDoubt,
}

impl RetryReason {
    pub(crate) const ALL: [Self; 3] = [Self::NotLeader, Self::Unavailable, Self::InDoubt];

    /// The label in metrics.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::NotLeader => "not_leader",
            Self::Unavailable => "unavailable",
            Self::InDoubt => "in_doubt",
        }
    }

    /// The reason to try again after this error; none when another try would end alike.
    ///
    /// An entry in doubt may be in the log already. It goes again as the same bytes: apply knows events by their ids,
    /// imports by their marks and settings by their revision, and to finish an import twice is to finish it.
    pub(crate) const fn of(error: &RouteError) -> Option<Self> {
        match error {
            RouteError::NotLeader { .. } => Some(Self::NotLeader),
            RouteError::Unavailable { .. } => Some(Self::Unavailable),
            RouteError::InDoubt { .. } => Some(Self::InDoubt),
            _ => None,
        }
    }
}

/// The pause after so many failures in a row: doubled each time, and anything between its half and its whole, so that
/// lanes and nodes do not knock together.
pub(crate) fn pause(failures: u32, pause_ms_max: u64, random: u64) -> Duration {
    let doubled = PAUSE_MS_MIN.saturating_mul(1 << failures.min(16));
    let whole = doubled.clamp(1, pause_ms_max.max(1));
    let half = whole / 2;
    Duration::from_millis(half + random % (whole - half + 1))
}

/// A number that looks random: the next of a xorshift sequence, which needs no source of randomness.
pub(crate) const fn scramble(mut state: u64) -> u64 {
    state ^= state << 13;
    state ^= state >> 7;
    state ^ state << 17
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_up_to_their_limit_and_differ() {
        let (mut state, mut seen) = (77, std::collections::BTreeSet::new());
        for failures in 0..40 {
            state = scramble(state);
            let pause = pause(failures, 50, state);
            let whole = (4u64 << failures.min(16)).min(50);
            let range = Duration::from_millis(whole / 2)..=Duration::from_millis(whole);
            assert!(range.contains(&pause), "{failures}: {pause:?}");
            seen.insert(pause);
        }
        assert!(seen.len() > 10, "{seen:?}");
        assert!(pause(3, 0, 5) <= Duration::from_millis(1));
    }
}

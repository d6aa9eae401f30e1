//! The clock of a simulated host: virtual time, and what the host believes it to be.

use std::{
    sync::{
        Arc,
        atomic::{AtomicI64, AtomicU8, Ordering},
    },
    time::Duration,
};

use ringtail_proto::UnixMillis;

/// When every simulation begins: 2025-06-15, twenty past two in the afternoon.
pub(crate) const EPOCH_MS: i64 = 1_749_997_200_000;

/// A host's clock. Clones are the same.
#[derive(Clone, Default)]
pub(crate) struct SimClock {
    /// How far the host's wall clock is off.
    skew_ms: Arc<AtomicI64>,
    draws: Arc<AtomicU8>,
    seed: u64,
}

impl SimClock {
    /// A right clock.
    pub(crate) fn new(seed: u64) -> Self {
        Self {
            seed,
            ..Self::default()
        }
    }

    /// Sets the wall clock off; time goes on as it did.
    pub(crate) fn set_skew_ms(&self, skew_ms: i64) {
        self.skew_ms.store(skew_ms, Ordering::Relaxed);
    }

    fn wall(&self) -> UnixMillis {
        let elapsed = i64::try_from(elapsed().as_millis()).unwrap_or(i64::MAX);
        UnixMillis(EPOCH_MS + elapsed + self.skew_ms.load(Ordering::Relaxed))
    }
}

/// Virtual time since the simulation began.
pub(crate) fn elapsed() -> Duration {
    turmoil::sim_elapsed().unwrap_or_default()
}

impl ringtail_router::Clock for SimClock {
    fn now(&self) -> UnixMillis {
        self.wall()
    }

    fn elapsed(&self) -> Duration {
        elapsed()
    }
}

impl ringtail_partition::Clock for SimClock {
    fn monotonic_ms(&self) -> u64 {
        elapsed().as_millis() as u64
    }
}

impl ringtail_metadata::Seams for SimClock {
    fn now(&self) -> UnixMillis {
        self.wall()
    }

    fn random(&self) -> [u8; 32] {
        let draw = self.draws.fetch_add(1, Ordering::Relaxed);
        *blake3::hash(format!("{} {draw}", self.seed).as_bytes()).as_bytes()
    }
}

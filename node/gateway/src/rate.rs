//! Rate limits whose memory is bounded by construction.

use std::{
    net::IpAddr,
    sync::atomic::{AtomicI64, Ordering},
};

use ringtail_proto::UnixMillis;
use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_64_with_seed;

const NANOS_PER_MILLI: i64 = 1_000_000;

/// So many at once, so many in a while.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rate {
    /// What may come in `period_ms` in the long run; 0 for no limit.
    pub events: u32,
    /// Length of the period.
    pub period_ms: u32,
    /// What may come at once after a pause.
    pub burst_events: u32,
}

impl Rate {
    /// So many events a second, and twice as many at once.
    #[must_use]
    pub const fn per_second(events: u32) -> Self {
        Self {
            events,
            period_ms: 1_000,
            burst_events: events.saturating_mul(2),
        }
    }

    fn interval_ns(self) -> i64 {
        (i64::from(self.period_ms) * NANOS_PER_MILLI / i64::from(self.events.max(1))).max(1)
    }
}

/// One allowance: the generic cell rate algorithm in a single word.
///
/// The word is the moment at which the allowance would be full again.
#[derive(Debug, Default)]
pub(crate) struct Bucket(AtomicI64);

impl Bucket {
    /// Takes `count` from the allowance, or says after how many milliseconds to ask again.
    ///
    /// A batch larger than the burst passes when the allowance is full, and is paid off afterwards.
    pub(crate) fn take(&self, rate: Rate, now: UnixMillis, count: u32) -> Result<(), u32> {
        if rate.events == 0 || count == 0 {
            return Ok(());
        }
        let now_ns = now.0.saturating_mul(NANOS_PER_MILLI);
        let interval_ns = rate.interval_ns();
        let burst_ns = interval_ns.saturating_mul(i64::from(rate.burst_events.max(1)));
        let cost_ns = interval_ns.saturating_mul(i64::from(count));
        let mut full_at = self.0.load(Ordering::Relaxed);
        loop {
            let from = full_at.max(now_ns);
            let excess_ns = (from - now_ns).saturating_add(cost_ns.min(burst_ns)) - burst_ns;
            if excess_ns > 0 {
                let wait_ms = excess_ns / NANOS_PER_MILLI + 1;
                return Err(u32::try_from(wait_ms).unwrap_or(u32::MAX));
            }
            let next = from.saturating_add(cost_ns);
            match self
                .0
                .compare_exchange_weak(full_at, next, Ordering::Relaxed, Ordering::Relaxed)
            {
                Ok(_) => return Ok(()),
                Err(current) => full_at = current,
            }
        }
    }
}

/// Allowances of addresses in a table of fixed size.
///
/// Two addresses that fall into the same slot share its allowance; the seed is secret, so nobody can aim at a slot.
#[derive(Debug)]
pub(crate) struct AddressBuckets {
    slots: Box<[Bucket]>,
    seed: u64,
}

impl AddressBuckets {
    /// 512 KiB.
    const SLOTS: usize = 1 << 16;

    pub(crate) fn new(seed: u64) -> Self {
        Self {
            slots: (0..Self::SLOTS).map(|_| Bucket::default()).collect(),
            seed,
        }
    }

    pub(crate) fn take(
        &self,
        address: IpAddr,
        rate: Rate,
        now: UnixMillis,
        count: u32,
    ) -> Result<(), u32> {
        let hash = match address {
            IpAddr::V4(address) => xxh3_64_with_seed(&address.octets(), self.seed),
            // A household owns a /64, so its addresses are one.
            IpAddr::V6(address) => {
                let network = (u128::from(address) >> 64) as u64;
                xxh3_64_with_seed(&network.to_le_bytes(), self.seed)
            }
        };
        let slot = (hash % Self::SLOTS as u64) as usize;
        let bucket = self
            .slots
            .get(slot)
            .expect("the remainder is below the number of slots");
        bucket.take(rate, now, count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RATE: Rate = Rate {
        events: 10,
        period_ms: 1_000,
        burst_events: 20,
    };

    #[test]
    fn a_burst_passes_and_the_rest_waits_its_turn() {
        let bucket = Bucket::default();
        let now = UnixMillis(1_000_000);
        for _ in 0..20 {
            assert_eq!(bucket.take(RATE, now, 1), Ok(()));
        }
        let wait_ms = bucket.take(RATE, now, 1).unwrap_err();
        assert_eq!(wait_ms, 101);
        assert_eq!(
            bucket.take(RATE, UnixMillis(now.0 + i64::from(wait_ms)), 1),
            Ok(())
        );
        assert!(
            bucket
                .take(RATE, UnixMillis(now.0 + i64::from(wait_ms)), 1)
                .is_err()
        );
    }

    #[test]
    fn a_batch_larger_than_the_burst_passes_once_and_is_paid_off() {
        let bucket = Bucket::default();
        assert_eq!(bucket.take(RATE, UnixMillis(0), 100), Ok(()));
        assert!(bucket.take(RATE, UnixMillis(7_000), 20).is_err());
        assert_eq!(bucket.take(RATE, UnixMillis(10_000), 20), Ok(()));
    }

    #[test]
    fn no_limit_never_refuses() {
        let bucket = Bucket::default();
        let rate = Rate { events: 0, ..RATE };
        assert!((0..1_000).all(|_| bucket.take(rate, UnixMillis(0), 1_000).is_ok()));
    }

    #[test]
    fn addresses_have_allowances_of_their_own_and_a_v6_network_has_one() {
        let buckets = AddressBuckets::new(7);
        let take = |text: &str| {
            buckets
                .take(text.parse().unwrap(), RATE, UnixMillis(0), 20)
                .is_ok()
        };
        assert!(take("192.0.2.1"));
        assert!(!take("192.0.2.1"));
        assert!(take("192.0.2.2"));
        assert!(take("2001:db8::1"));
        assert!(!take("2001:db8::2"));
        assert!(take("2001:db8:0:1::1"));
    }
}

//! How often somebody may be refused before nobody listens to him any more.

use std::{
    collections::HashMap,
    net::{IpAddr, Ipv6Addr},
    time::Duration,
};

use parking_lot::Mutex;

/// Refusals of one address in a window; a person who mistypes has fewer.
const REFUSALS_MAX: u32 = 20;
const WINDOW: Duration = Duration::from_secs(60);
/// Bits of an IPv6 address that its user may choose: whoever has one address has a whole network of them.
const OWN_BITS: u32 = 64;
/// Addresses that are remembered; when there are more, the others share one count.
const ADDRESSES_MAX: usize = 1_024;

/// Counts refusals by address. Time is told by the caller.
#[derive(Default)]
pub(crate) struct Refusals(Mutex<HashMap<Option<IpAddr>, Refused>>);

#[derive(Clone, Copy)]
struct Refused {
    since: Duration,
    count: u32,
}

impl Refusals {
    /// True when the address was refused too often of late to be heard now.
    pub(crate) fn is_shut_out(&self, from: IpAddr, now: Duration) -> bool {
        let from = network_of(from);
        let refused = self.0.lock();
        let of_address = refused.get(&Some(from)).or_else(|| refused.get(&None));
        of_address.is_some_and(|refused| {
            refused.count >= REFUSALS_MAX && now.saturating_sub(refused.since) < WINDOW
        })
    }

    /// Notes a refusal.
    pub(crate) fn note(&self, from: IpAddr, now: Duration) {
        let from = network_of(from);
        let mut refused = self.0.lock();
        refused.retain(|_, refused| now.saturating_sub(refused.since) < WINDOW);
        let is_known = refused.contains_key(&Some(from));
        let key = (is_known || refused.len() < ADDRESSES_MAX).then_some(from);
        let of_address = refused.entry(key).or_insert(Refused {
            since: now,
            count: 0,
        });
        of_address.count += 1;
    }
}

/// All addresses that belong to the same user, as one.
fn network_of(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => {
            let network = address.to_bits() >> OWN_BITS << OWN_BITS;
            IpAddr::V6(Ipv6Addr::from_bits(network))
        }
        address => address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_that_is_refused_often_is_not_heard_for_a_while() {
        let refusals = Refusals::default();
        let (one, other) = ([10, 0, 0, 1].into(), [10, 0, 0, 2].into());
        let at = Duration::from_secs;
        for _ in 0..REFUSALS_MAX {
            assert!(!refusals.is_shut_out(one, at(5)));
            refusals.note(one, at(5));
        }
        assert!(refusals.is_shut_out(one, at(5)));
        assert!(!refusals.is_shut_out(other, at(5)));
        assert!(refusals.is_shut_out(one, at(64)));
        assert!(!refusals.is_shut_out(one, at(65)));
    }

    #[test]
    fn the_addresses_of_one_network_count_together() {
        let refusals = Refusals::default();
        let now = Duration::from_secs(1);
        let address = |network: u128, host: u128| {
            IpAddr::V6(Ipv6Addr::from_bits(
                (0x2001_0db8 << 96) | (network << 64) | host,
            ))
        };
        for host in 0..u128::from(REFUSALS_MAX) {
            refusals.note(address(7, host), now);
        }
        assert!(refusals.is_shut_out(address(7, 1 << 63), now));
        assert!(!refusals.is_shut_out(address(8, 0), now));
        // The same machine by either form of its address, and nobody else of all that have the older form.
        for _ in 0..REFUSALS_MAX {
            refusals.note("::ffff:10.0.0.1".parse().expect("an address"), now);
        }
        assert!(refusals.is_shut_out([10, 0, 0, 1].into(), now));
        assert!(!refusals.is_shut_out("::ffff:10.0.0.2".parse().expect("an address"), now));
    }

    #[test]
    fn only_so_many_addresses_are_remembered() {
        let refusals = Refusals::default();
        let now = Duration::from_secs(1);
        for number in 0..5_000_u32 {
            refusals.note(IpAddr::from(number.to_be_bytes()), now);
        }
        assert_eq!(refusals.0.lock().len(), ADDRESSES_MAX + 1);
        // Those who came when it was full are one to it.
        assert!(refusals.is_shut_out(IpAddr::from(4_999_u32.to_be_bytes()), now));
        assert!(!refusals.is_shut_out(IpAddr::from(7_u32.to_be_bytes()), now));
    }
}

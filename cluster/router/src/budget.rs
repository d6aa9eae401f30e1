//! What is on its way, for each site and in all: bounded, so that a flash crowd hurts itself first.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use hashbrown::{HashMap, hash_map::Entry};
use parking_lot::Mutex;
use ringtail_proto::SiteId;

use crate::{RouteError, RouterOptions};

/// A submission locks one of these for a moment.
const SHARDS: usize = 64;

/// Counts what is between submission and verdict.
pub(crate) struct Budget {
    site_events_max: usize,
    bytes_max: usize,
    bytes: AtomicUsize,
    /// Events of each site that has any on their way.
    sites: Box<[Mutex<HashMap<SiteId, usize>>]>,
}

/// A submission's share; given back when dropped.
pub(crate) struct Charge {
    budget: Arc<Budget>,
    site: SiteId,
    events: usize,
    bytes: usize,
}

impl Budget {
    pub(crate) fn new(options: &RouterOptions) -> Arc<Self> {
        Arc::new(Self {
            site_events_max: options.site_events_in_flight_max,
            bytes_max: options.bytes_in_flight_max,
            bytes: AtomicUsize::new(0),
            sites: (0..SHARDS).map(|_| Mutex::default()).collect(),
        })
    }

    pub(crate) fn charge(
        self: &Arc<Self>,
        site: SiteId,
        events: usize,
        bytes: usize,
    ) -> Result<Charge, RouteError> {
        self.take_events(site, events)?;
        let before = self.bytes.fetch_add(bytes, Ordering::Relaxed);
        // From here on dropping the charge gives both back.
        let charge = Charge {
            budget: Arc::clone(self),
            site,
            events,
            bytes,
        };
        if before.saturating_add(bytes) > self.bytes_max {
            return Err(RouteError::BytesBusy {
                bytes_max: self.bytes_max,
            });
        }
        Ok(charge)
    }

    /// Bytes of an entry whose events were counted where they came in.
    pub(crate) fn charge_bytes(self: &Arc<Self>, bytes: usize) -> Result<Charge, RouteError> {
        self.charge(SiteId(0), 0, bytes)
    }

    pub(crate) fn bytes_in_flight(&self) -> usize {
        self.bytes.load(Ordering::Relaxed)
    }

    fn take_events(&self, site: SiteId, events: usize) -> Result<(), RouteError> {
        let mut sites = self.shard(site).lock();
        let in_flight = sites.entry(site).or_insert(0);
        if in_flight.saturating_add(events) > self.site_events_max {
            return Err(RouteError::SiteBusy {
                site,
                events_max: self.site_events_max,
            });
        }
        *in_flight += events;
        Ok(())
    }

    fn give_events(&self, site: SiteId, events: usize) {
        if let Entry::Occupied(mut entry) = self.shard(site).lock().entry(site) {
            *entry.get_mut() = entry.get().saturating_sub(events);
            if *entry.get() == 0 {
                entry.remove();
            }
        }
    }

    fn shard(&self, site: SiteId) -> &Mutex<HashMap<SiteId, usize>> {
        let position = usize::from(site.slot().0) % SHARDS;
        self.sites
            .get(position)
            .expect("the remainder is below the number of shards")
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        self.budget.give_events(self.site, self.events);
        self.budget.bytes.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn budget(site_events_in_flight_max: usize, bytes_in_flight_max: usize) -> Arc<Budget> {
        Budget::new(&RouterOptions {
            site_events_in_flight_max,
            bytes_in_flight_max,
            ..RouterOptions::default()
        })
    }

    #[test]
    fn a_busy_site_is_refused_and_its_neighbour_is_not() {
        let budget = budget(10, 1_000);
        let (crowd, neighbour) = (SiteId(1), SiteId(2));
        let first = budget.charge(crowd, 6, 1).unwrap();
        let refused = budget.charge(crowd, 5, 1).err();
        assert_eq!(
            refused,
            Some(RouteError::SiteBusy {
                site: crowd,
                events_max: 10
            })
        );
        let second = budget.charge(crowd, 4, 1).unwrap();
        let other = budget.charge(neighbour, 10, 1).unwrap();
        drop((first, second));
        budget.charge(crowd, 10, 1).unwrap();
        drop(other);
    }

    #[test]
    fn all_sites_share_the_bytes_and_a_refusal_takes_nothing() {
        let budget = budget(10, 100);
        let first = budget.charge(SiteId(1), 1, 60).unwrap();
        let refused = budget.charge(SiteId(2), 10, 41).err();
        assert_eq!(refused, Some(RouteError::BytesBusy { bytes_max: 100 }));
        assert_eq!(budget.bytes_in_flight(), 60);
        let second = budget.charge(SiteId(2), 10, 40).unwrap();
        drop((first, second));
        assert_eq!(budget.bytes_in_flight(), 0);
    }

    #[test]
    fn an_idle_site_takes_no_memory() {
        let budget = budget(10, 100);
        for site in 0..1_000 {
            drop(budget.charge(SiteId(site), 1, 1).unwrap());
        }
        let sites: usize = budget.sites.iter().map(|shard| shard.lock().len()).sum();
        assert_eq!(sites, 0);
    }
}

//! The plan: an endless, seeded sequence of batches.

use super::{Batch, EventName, PlannedEvent, Site};
use jiff::{SignedDuration, Timestamp};
use rand::{Rng, RngCore, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// The shape of the workload.
#[derive(Clone, Debug)]
pub struct GeneratorOptions {
    /// Decides everything.
    pub seed: u64,
    /// The sites.
    pub sites: Vec<Site>,
    /// Distinct visitors of a site; at most 256 keep the product's counts exact.
    pub visitors_per_site: u32,
    /// Events of one batch.
    pub events_per_batch_max: usize,
    /// The latest time of an event; the plan lies in the 48 hours before.
    pub until: Timestamp,
    /// How many hours before `until` are recent. In the last one nothing is late.
    pub recent_hours: i64,
    /// Percent of the batches that lie in the recent hours, the rest comes late.
    pub recent_percent: u32,
    /// Percent of the batches that are sent again until they are answered.
    pub retried_percent: u32,
    /// Percent of the batches whose answer the client loses.
    pub forgotten_percent: u32,
}

impl GeneratorOptions {
    /// Three sites, 200 visitors each, six of ten batches recent.
    #[must_use]
    pub fn new(seed: u64, until: Timestamp) -> Self {
        Self {
            seed,
            sites: Site::three(),
            visitors_per_site: 200,
            events_per_batch_max: 12,
            until,
            recent_hours: 2,
            recent_percent: 60,
            retried_percent: 60,
            forgotten_percent: 8,
        }
    }
}

/// Yields the batches of a plan; equal options yield equal plans.
#[derive(Clone, Debug)]
pub struct Generator {
    options: GeneratorOptions,
    random: ChaCha8Rng,
    number: u64,
}

impl Generator {
    /// The plan of these options.
    #[must_use]
    pub fn new(options: GeneratorOptions) -> Self {
        let random = ChaCha8Rng::seed_from_u64(options.seed);
        Self {
            options,
            random,
            number: 0,
        }
    }

    fn percent(&mut self, percent: u32) -> bool {
        self.random.random_range(0..100) < percent
    }

    /// The hour of a batch, as hours before the end of the plan.
    fn hours_back(&mut self) -> i64 {
        if self.percent(self.options.recent_percent) {
            self.random.random_range(0..self.options.recent_hours)
        } else {
            self.random.random_range(self.options.recent_hours..47)
        }
    }

    fn event(&mut self, hours_back: i64) -> PlannedEvent {
        let milliseconds = hours_back * 3_600_000 + self.random.random_range(0..3_600_000);
        let mut id = [0; 16];
        self.random.fill_bytes(&mut id);
        let is_custom = self.percent(15);
        PlannedEvent {
            id: uuid::Builder::from_random_bytes(id).into_uuid(),
            visitor: self.random.random_range(0..self.options.visitors_per_site),
            name: if is_custom {
                EventName::Custom
            } else {
                EventName::Pageview
            },
            time: self.options.until - SignedDuration::from_millis(milliseconds),
        }
    }
}

impl Iterator for Generator {
    type Item = Batch;

    fn next(&mut self) -> Option<Batch> {
        let site = self.random.random_range(0..self.options.sites.len());
        let domain = self.options.sites.get(site)?.domain.clone();
        let size = self
            .random
            .random_range(1..=self.options.events_per_batch_max);
        let hours_back = self.hours_back();
        let events = (0..size).map(|_| self.event(hours_back)).collect();
        let number = self.number;
        self.number += 1;
        Some(Batch {
            number,
            domain,
            events,
            is_retried: self.percent(self.options.retried_percent),
            is_forgotten: self.percent(self.options.forgotten_percent),
        })
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    fn plan(seed: u64) -> Vec<Batch> {
        let until = Timestamp::from_second(1_750_000_000).unwrap();
        Generator::new(GeneratorOptions::new(seed, until))
            .take(200)
            .collect()
    }

    #[test]
    fn equal_seeds_give_equal_plans_and_others_give_others() {
        let ids = |seed| -> Vec<Uuid> {
            plan(seed)
                .iter()
                .flat_map(|batch| &batch.events)
                .map(|event| event.id)
                .collect()
        };
        assert_eq!(ids(7), ids(7));
        assert_ne!(ids(7), ids(8));
        assert!(ids(7).iter().all(|id| id.get_version_num() == 4));
    }

    #[test]
    fn events_of_a_batch_lie_in_one_hour_before_the_end_of_the_plan() {
        let until = Timestamp::from_second(1_750_000_000).unwrap();
        for batch in plan(3) {
            let ages: Vec<i64> = batch
                .events
                .iter()
                .map(|event| event.time.duration_until(until).as_secs() / 3600)
                .collect();
            let newest = ages.iter().min().copied().unwrap();
            let oldest = ages.iter().max().copied().unwrap();
            assert!(
                oldest - newest <= 1 && (0..48).contains(&oldest),
                "{ages:?}"
            );
        }
    }
}

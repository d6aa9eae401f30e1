//! The sites that have background work left.

use std::collections::VecDeque;

use hashbrown::HashSet;
use ringtail_proto::SiteGeneration;

/// Sites that wait at most; further ones come back with their next pages.
const WAITING_SITES_MAX: usize = 65_536;

/// Sites with work left, each once, the longest waiting first.
#[derive(Debug, Default)]
pub(crate) struct RollUps {
    waiting: VecDeque<SiteGeneration>,
    known: HashSet<SiteGeneration>,
}

impl RollUps {
    /// Puts a site behind all others, unless it waits already.
    pub(crate) fn push(&mut self, site: SiteGeneration) {
        if self.waiting.len() >= WAITING_SITES_MAX {
            metrics::counter!("ringtail_checkpoint_roll_ups_forgotten_total").increment(1);
        } else if self.known.insert(site) {
            self.waiting.push_back(site);
        }
    }

    /// Takes the site that has waited longest.
    pub(crate) fn pop(&mut self) -> Option<SiteGeneration> {
        let site = self.waiting.pop_front()?;
        self.known.remove(&site);
        Some(site)
    }

    pub(crate) fn len(&self) -> usize {
        self.waiting.len()
    }
}

#[cfg(test)]
mod tests {
    use ringtail_proto::SiteId;

    use super::*;

    const fn site(number: u64) -> SiteGeneration {
        SiteGeneration::first(SiteId(number))
    }

    #[test]
    fn every_site_waits_once_and_in_turn_up_to_the_limit() {
        let mut roll_ups = RollUps::default();
        for number in [3, 1, 3, 2] {
            roll_ups.push(site(number));
        }
        assert_eq!(roll_ups.pop(), Some(site(3)));
        roll_ups.push(site(3));
        let rest: Vec<_> = std::iter::from_fn(|| roll_ups.pop()).collect();
        assert_eq!(rest, [1, 2, 3].map(site));
        for number in 0..2 * WAITING_SITES_MAX as u64 {
            roll_ups.push(site(number));
        }
        assert_eq!(roll_ups.len(), WAITING_SITES_MAX);
    }
}

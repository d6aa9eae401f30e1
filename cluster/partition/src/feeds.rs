//! Which generations of a site take its entries on this replica.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use ringtail_proto::{Generation, LogIndex, SiteGeneration, SiteId};

use crate::generations::Generations;

/// The generations that take entries, and which of them answers; clones are cheap and stay as they are.
#[derive(Clone, Debug, Default)]
pub(crate) struct Feeds {
    /// Sites that have others than the generation of their birth; all others have that one.
    later: Arc<BTreeMap<SiteId, Vec<Feed>>>,
}

/// One generation that takes a site's entries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Feed {
    site: SiteGeneration,
    /// The last entry that it takes.
    until: Option<LogIndex>,
}

impl Feed {
    fn takes(&self, index: LogIndex) -> bool {
        self.until.is_none_or(|until| index <= until)
    }
}

impl Feeds {
    /// Those that the log says are fed and that are complete here. While this replica has none of a site, the last one that
    /// has ended goes on: somebody has to know duplicates, and to tell the archive.
    pub(crate) fn new(generations: &Generations, complete: &BTreeSet<SiteGeneration>) -> Self {
        let mut later: BTreeMap<SiteId, Vec<Feed>> = BTreeMap::new();
        for (site, fed) in generations.later() {
            let feeds = later.entry(site.site).or_default();
            if is_complete(complete, site) {
                let until = fed.ended;
                feeds.push(Feed { site, until });
            }
        }
        for feeds in later.values_mut() {
            if feeds.iter().all(|feed| feed.until.is_some())
                && let Some(last) = feeds.iter_mut().max_by_key(|feed| feed.until)
            {
                last.until = None;
            }
        }
        Self {
            later: Arc::new(later),
        }
    }

    /// Calls back for each generation that takes an entry of the site, and tells whether it is the one whose verdicts are
    /// told to clients and to the archive.
    pub(crate) fn each(
        &self,
        site: SiteId,
        index: LogIndex,
        mut visit: impl FnMut(SiteGeneration, bool),
    ) {
        let Some(feeds) = self.later.get(&site) else {
            return visit(SiteGeneration::first(site), true);
        };
        let taking = feeds.iter().filter(|feed| feed.takes(index));
        for (position, feed) in taking.enumerate() {
            visit(feed.site, position == 0);
        }
    }

    /// True when the generation's verdicts on an entry are told to clients and to the archive.
    pub(crate) fn is_primary(&self, site: SiteGeneration, index: LogIndex) -> bool {
        let mut found = false;
        self.each(site.site, index, |fed, is_primary| {
            found |= is_primary && fed == site;
        });
        found
    }

    /// Those that take new entries, of sites that have others than the generation of their birth.
    pub(crate) fn later(&self) -> impl Iterator<Item = SiteGeneration> {
        let live = self.later.values().flatten();
        live.filter(|feed| feed.until.is_none())
            .map(|feed| feed.site)
    }

    /// True when the generation takes new entries.
    pub(crate) fn contains(&self, site: SiteGeneration) -> bool {
        self.of(site.site).any(|fed| fed == site)
    }

    /// The generations that take the site's new entries.
    pub(crate) fn of(&self, site: SiteId) -> impl Iterator<Item = SiteGeneration> {
        let later = self.later.get(&site);
        let birth = later.is_none().then(|| SiteGeneration::first(site));
        let live = later.into_iter().flatten();
        let live = live.filter(|feed| feed.until.is_none());
        birth.into_iter().chain(live.map(|feed| feed.site))
    }
}

/// The generation of a site's birth needs no building.
pub(crate) fn is_complete(complete: &BTreeSet<SiteGeneration>, site: SiteGeneration) -> bool {
    site.generation == Generation(0) || complete.contains(&site)
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use ringtail_proto::stored::{GenerationBegin, GenerationCommand, generation_command::Change};

    use super::*;

    const SITE: SiteId = SiteId(7);

    fn of(generation: u32) -> SiteGeneration {
        SiteGeneration {
            site: SITE,
            generation: Generation(generation),
        }
    }

    /// Who takes an entry, the first one as the primary, when these are complete and the log began 1 at entry 10 and ended
    /// 0 at entry 20.
    fn check(complete: &[u32], index: u64, expect: &[u32]) {
        let mut generations = Generations::default();
        let begin = GenerationBegin {
            generation: 1,
            rules: Bytes::new(),
        };
        for (index, change) in [(10, Change::Begin(begin)), (20, Change::End(0))] {
            let command = GenerationCommand {
                site: SITE.0,
                change: Some(change),
            };
            assert!(generations.apply(LogIndex(index), &command).is_some());
        }
        let complete = complete.iter().copied().map(of).collect();
        let feeds = Feeds::new(&generations, &complete);
        let mut taking = Vec::new();
        feeds.each(SITE, LogIndex(index), |site, is_primary| {
            assert_eq!(is_primary, taking.is_empty());
            assert_eq!(is_primary, feeds.is_primary(site, LogIndex(index)));
            taking.push(site.generation.0);
        });
        assert_eq!(taking, expect, "{complete:?} at {index}");
    }

    #[test]
    fn one_that_has_ended_takes_entries_up_to_its_end_and_answers_for_them() {
        check(&[1], 20, &[0, 1]);
        check(&[1], 21, &[1]);
    }

    #[test]
    fn one_that_has_ended_goes_on_where_nothing_else_is_complete() {
        check(&[], 20, &[0]);
        check(&[], 21, &[0]);
    }

    #[test]
    fn a_site_that_was_never_reprocessed_has_that_of_its_birth() {
        let feeds = Feeds::default();
        assert!(feeds.is_primary(of(0), LogIndex(1)));
        assert!(!feeds.contains(of(1)));
    }
}

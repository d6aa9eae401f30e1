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
    /// Those that the log says are fed and that are complete here.
    pub(crate) fn new(generations: &Generations, complete: &BTreeSet<SiteGeneration>) -> Self {
        let mut later: BTreeMap<SiteId, Vec<Feed>> = BTreeMap::new();
        for (site, fed) in generations.later() {
            let feeds = later.entry(site.site).or_default();
            if is_complete(complete, site) {
                let until = fed.ended;
                feeds.push(Feed { site, until });
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

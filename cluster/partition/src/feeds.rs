//! Which generations of a site take its entries on this replica.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use ringtail_proto::{Generation, SiteGeneration, SiteId};

use crate::generations::Generations;

/// The generations that take entries, and which of them answers; clones are cheap and stay as they are.
#[derive(Clone, Debug, Default)]
pub(crate) struct Feeds {
    /// Sites that have others than the generation of their birth; all others have that one.
    later: Arc<BTreeMap<SiteId, Vec<Feed>>>,
}

/// One generation that takes a site's entries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Feed {
    pub(crate) site: SiteGeneration,
    /// Its verdicts are told to clients and to the archive.
    pub(crate) is_primary: bool,
}

impl Feeds {
    /// Those that the log says are fed and that are complete here.
    pub(crate) fn new(generations: &Generations, complete: &BTreeSet<SiteGeneration>) -> Self {
        let mut later: BTreeMap<SiteId, Vec<Feed>> = BTreeMap::new();
        for (site, _) in generations.later() {
            let feeds = later.entry(site.site).or_default();
            if is_complete(complete, site) {
                let is_primary = generations.primary(site.site) == site.generation;
                feeds.push(Feed { site, is_primary });
            }
        }
        Self {
            later: Arc::new(later),
        }
    }

    /// Calls back for each generation that takes the site's entries.
    pub(crate) fn each(&self, site: SiteId, mut visit: impl FnMut(Feed)) {
        match self.later.get(&site) {
            Some(feeds) => feeds.iter().copied().for_each(visit),
            None => visit(Feed {
                site: SiteGeneration::first(site),
                is_primary: true,
            }),
        }
    }

    /// True when the generation takes entries.
    pub(crate) fn contains(&self, site: SiteGeneration) -> bool {
        let mut is_fed = false;
        self.each(site.site, |feed| is_fed |= feed.site == site);
        is_fed
    }

    /// The generations that take the site's entries.
    pub(crate) fn of(&self, site: SiteId) -> Vec<SiteGeneration> {
        let mut found = Vec::new();
        self.each(site, |feed| found.push(feed.site));
        found
    }
}

/// The generation of a site's birth needs no building.
pub(crate) fn is_complete(complete: &BTreeSet<SiteGeneration>, site: SiteGeneration) -> bool {
    site.generation == Generation(0) || complete.contains(&site)
}

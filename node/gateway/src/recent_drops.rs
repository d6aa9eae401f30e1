//! What was dropped lately, for whoever asks what became of an event.

use moka::sync::Cache;
use ringtail_proto::{DropReason, EventId, SiteId};

/// So many drops are remembered, on the node that dropped them.
const DROPS_MAX: u64 = 65_536;

/// The reasons of the latest drops, by site and event id.
pub(crate) struct RecentDrops(Cache<(SiteId, EventId), DropReason>);

impl RecentDrops {
    pub(crate) fn new() -> Self {
        Self(Cache::new(DROPS_MAX))
    }

    pub(crate) fn note(&self, site: SiteId, id: EventId, reason: DropReason) {
        self.0.insert((site, id), reason);
    }

    pub(crate) fn reason(&self, site: SiteId, id: EventId) -> Option<DropReason> {
        self.0.get(&(site, id))
    }
}

//! What the steps know, and the state that they hand on.

use std::{borrow::Cow, net::IpAddr, sync::Arc};

use ringtail_proto::{
    Acquisition, Client, DropReason, Event, EventFlags, EventId, Place, Text, UnixMillis, VisitorId,
};
use xxhash_rust::xxh3::xxh3_64_with_seed;

use crate::{
    Clock, GatewaySettings, Hit, Salts, SiteRules, Sites,
    agents::{Agent, Agents},
    counters::Counters,
    countries::Countries,
    event_ids::EventIds,
    memo::{KnownPage, Memo, MemoPool},
    page::Page,
    recent_drops::RecentDrops,
    salts::{Secret, random},
    sources::Sources,
};

/// Everything that enrichment knows, shared by all workers.
pub(crate) struct Enricher {
    pub(crate) sites: Arc<dyn Sites>,
    pub(crate) salts: Arc<Salts>,
    pub(crate) clock: Clock,
    pub(crate) settings: GatewaySettings,
    pub(crate) agents: Agents,
    pub(crate) countries: Countries,
    pub(crate) sources: Sources,
    pub(crate) ids: EventIds,
    pub(crate) counters: Counters,
    pub(crate) recent_drops: RecentDrops,
    pub(crate) memos: MemoPool,
    /// Secret, so that nobody can aim at a slot of a cache.
    pub(crate) seed: u64,
    pub(crate) anyone: Arc<Client>,
}

impl Enricher {
    pub(crate) fn new(
        sites: Arc<dyn Sites>,
        salts: Arc<Salts>,
        clock: Clock,
        settings: GatewaySettings,
    ) -> Self {
        let seed = u128::from_le_bytes(random()) as u64;
        Self {
            sites,
            salts,
            clock,
            settings,
            agents: Agents::new(seed),
            countries: Countries::new(),
            sources: Sources::new(),
            ids: EventIds::new(random()),
            counters: Counters::new(),
            recent_drops: RecentDrops::new(),
            memos: MemoPool::new(),
            seed,
            anyone: Arc::new(Client::default()),
        }
    }
}

/// One event on its way through the steps.
pub(crate) struct Work<'w, 'h> {
    pub(crate) enricher: &'w Enricher,
    pub(crate) memo: &'w mut Memo,
    pub(crate) hit: &'w Hit<'h>,
    pub(crate) receipt: UnixMillis,
    pub(crate) mode: Mode<'w>,
    pub(crate) draft: Draft,
}

/// Where events come from.
#[derive(Clone, Copy)]
pub(crate) enum Mode<'a> {
    /// From now.
    Live,
    /// From the past, under a key of their own.
    Import { key: &'a Secret },
}

/// What the steps have found out so far.
pub(crate) struct Draft {
    pub(crate) site: Option<Arc<SiteRules>>,
    pub(crate) page: Option<Arc<Page>>,
    /// Once a step has asked for it.
    pub(crate) agent: Option<Arc<Agent>>,
    pub(crate) client: Arc<Client>,
    pub(crate) place: Arc<Place>,
    pub(crate) acquisition: Option<Arc<Acquisition>>,
    pub(crate) visitor: VisitorId,
    pub(crate) visitor_previous: Option<VisitorId>,
    /// The first reason among those that are stored.
    pub(crate) dropped: Option<DropReason>,
}

impl Draft {
    pub(crate) fn new(enricher: &Enricher) -> Self {
        Self {
            site: None,
            page: None,
            agent: None,
            client: enricher.anyone.clone(),
            place: enricher.countries.nowhere(),
            acquisition: None,
            visitor: VisitorId(0),
            visitor_previous: None,
            dropped: None,
        }
    }
}

impl Work<'_, '_> {
    /// The site's rules; the first step has found them.
    pub(crate) fn site(&self) -> Result<Arc<SiteRules>, DropReason> {
        self.draft.site.clone().ok_or(DropReason::UnknownSite)
    }

    /// The parsed page address, from the memo if the same one came before.
    pub(crate) fn page(&mut self) -> Result<Arc<Page>, DropReason> {
        if let Some(page) = &self.draft.page {
            return Ok(page.clone());
        }
        let site = self.site()?;
        let (url, is_hash_routed) = (self.hit.url.as_ref(), self.hit.is_hash_routed);
        let hash = xxh3_64_with_seed(url.as_bytes(), self.enricher.seed ^ site.stamp);
        let known = self.memo.pages.get(hash, |known| {
            known.rules == site.stamp
                && known.is_hash_routed == is_hash_routed
                && *known.url == *url
        });
        let page = match known {
            Some(known) => known.page.clone(),
            None => {
                let page = Arc::new(Page::parse(url, &site, is_hash_routed)?);
                if url.len() <= Memo::KEY_BYTES_MAX {
                    let known = KnownPage {
                        rules: site.stamp,
                        is_hash_routed,
                        url: url.into(),
                        page: page.clone(),
                    };
                    self.memo.pages.put(hash, known);
                }
                page
            }
        };
        self.draft.page = Some(page.clone());
        Ok(page)
    }

    /// A hash of several strings for the memo.
    pub(crate) fn hash_of(&self, parts: &[&[u8]]) -> u64 {
        // Each hash seeds the next: a hasher's state would cost more than these short strings.
        parts.iter().fold(self.enricher.seed, |seed, part| {
            xxh3_64_with_seed(part, seed)
        })
    }

    pub(crate) fn place_of(&mut self, address: IpAddr) -> Arc<Place> {
        let hash = match address {
            IpAddr::V4(address) => xxh3_64_with_seed(&address.octets(), self.enricher.seed),
            IpAddr::V6(address) => xxh3_64_with_seed(&address.octets(), self.enricher.seed),
        };
        if let Some((_, place)) = self.memo.places.get(hash, |(known, _)| *known == address) {
            return place.clone();
        }
        let place = self.enricher.countries.place(address);
        self.memo.places.put(hash, (address, place.clone()));
        place
    }

    /// The finished event.
    pub(crate) fn into_event(mut self) -> Result<Event, DropReason> {
        let page = self.page()?;
        let seed = self.enricher.seed;
        let name = self.memo.text(seed, &self.hit.name);
        let mut properties = Vec::with_capacity(self.hit.properties.len());
        for (key, value) in &self.hit.properties {
            let value: Cow<'_, str> = crate::privacy::mask_emails(value);
            properties.push((self.memo.text(seed, key), self.memo.text(seed, &value)));
        }
        let hit = self.hit;
        let acquisition = match self.draft.acquisition.take() {
            Some(acquisition) => acquisition,
            None => Arc::new(Acquisition::default()),
        };
        Ok(Event {
            id: hit.id.unwrap_or_else(|| self.enricher.ids.next()),
            visitor: self.draft.visitor,
            visitor_previous: self.draft.visitor_previous,
            user_id: hit
                .user_id
                .as_deref()
                .filter(|user| !user.is_empty())
                .map(Text::from),
            name,
            time: hit.time,
            page: page.path.clone(),
            hostname: page.hostname.clone(),
            client: self.draft.client,
            place: self.draft.place,
            acquisition,
            properties,
            revenue: hit.revenue,
            scroll_depth: hit.scroll_depth,
            engaged_ms: hit.engaged_ms,
            flags: EventFlags(if hit.is_interactive {
                0
            } else {
                EventFlags::NOT_INTERACTIVE
            }),
            dropped: self.draft.dropped,
        })
    }
}

/// True for the id that means "none sent".
pub(crate) fn sent_id(id: EventId) -> Option<EventId> {
    (id.0 != 0).then_some(id)
}

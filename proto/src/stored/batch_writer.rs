//! Builds an event batch in which shared attributes stand once.

use std::sync::Arc;

use bytes::Bytes;
use hashbrown::HashMap;

use crate::{Event, SiteId, Text, stored};

/// Collects events of any number of sites into one [`stored::EventBatch`].
///
/// Texts and attribute groups are stored once per batch. Groups are told apart by address: the pipeline shares
/// one allocation among equal values where it can, and a second copy only costs a few bytes.
#[derive(Default)]
pub struct BatchWriter {
    batch: stored::EventBatch,
    texts: HashMap<Bytes, u32>,
    clients: HashMap<usize, u32>,
    places: HashMap<usize, u32>,
    acquisitions: HashMap<usize, u32>,
    events: usize,
}

impl BatchWriter {
    /// An empty batch.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The number of events so far.
    #[must_use]
    pub const fn events(&self) -> usize {
        self.events
    }

    /// Adds events of one site; replies come in the same order.
    ///
    /// The events must stay alive until [`Self::finish`]: their attribute groups are known by address.
    pub fn add(&mut self, site: SiteId, events: &[Event], import: Option<stored::ImportMark>) {
        self.add_all(site, &[events], import);
    }

    /// [`Self::add`] for events that lie in several pieces.
    pub fn add_all(
        &mut self,
        site: SiteId,
        pieces: &[impl AsRef<[Event]>],
        import: Option<stored::ImportMark>,
    ) {
        let events = pieces.iter().map(|piece| piece.as_ref().len()).sum();
        let mut events_stored = Vec::with_capacity(events);
        for piece in pieces {
            events_stored.extend(piece.as_ref().iter().map(|event| self.event(event)));
        }
        self.events += events;
        self.batch.sites.push(stored::SiteEvents {
            site: site.0,
            events: events_stored,
            import,
        });
    }

    /// The batch.
    #[must_use]
    pub fn finish(self) -> stored::EventBatch {
        self.batch
    }

    fn event(&mut self, event: &Event) -> stored::StoredEvent {
        stored::StoredEvent {
            id_high: (event.id.0 >> 64) as u64,
            id_low: event.id.0 as u64,
            visitor: event.visitor.0,
            visitor_previous: event.visitor_previous.map_or(0, |visitor| visitor.0),
            time_ms: event.time.map_or(0, |time| time.0),
            name: self.text(&event.name),
            page: self.text(&event.page),
            hostname: self.text(&event.hostname),
            client: self.client(event),
            place: self.place(event),
            acquisition: self.acquisition(event),
            flags: event.flags.0,
            scroll_depth_plus_one: event.scroll_depth.map_or(0, |depth| u32::from(depth) + 1),
            engaged_ms: event.engaged_ms,
            properties: event
                .properties
                .iter()
                .map(|(key, value)| stored::Property {
                    key: self.text(key),
                    value: self.text(value),
                })
                .collect(),
            revenue: event.revenue.map(|revenue| stored::Revenue {
                amount_micros: revenue.amount_micros,
                currency: Bytes::copy_from_slice(revenue.currency.bytes()),
            }),
            user_id_plus_one: event.user_id.as_ref().map_or(0, |user| self.text(user) + 1),
            dropped: event.dropped.map_or(0, |reason| u32::from(reason.code())),
        }
    }

    fn text(&mut self, text: &Text) -> u32 {
        if let Some(position) = self.texts.get(text.as_bytes()) {
            return *position;
        }
        let position = self.batch.texts.len() as u32;
        let bytes = text.to_bytes();
        self.batch.texts.push(bytes.clone());
        self.texts.insert(bytes, position);
        position
    }

    fn client(&mut self, event: &Event) -> u32 {
        let client = &event.client;
        let address = Arc::as_ptr(client) as usize;
        let rows = &mut self.batch.clients;
        *self.clients.entry(address).or_insert_with(|| {
            rows.push(stored::Client {
                browser: client.browser.to_bytes(),
                browser_version: client.browser_version.to_bytes(),
                os: client.os.to_bytes(),
                os_version: client.os_version.to_bytes(),
                device: client.device.to_bytes(),
                screen: client.screen.to_bytes(),
                language: client.language.to_bytes(),
                raw_user_agent: client.raw_user_agent.to_bytes(),
            });
            rows.len() as u32 - 1
        })
    }

    fn place(&mut self, event: &Event) -> u32 {
        let place = &event.place;
        let address = Arc::as_ptr(place) as usize;
        let rows = &mut self.batch.places;
        *self.places.entry(address).or_insert_with(|| {
            rows.push(stored::Place {
                country: place.country.to_bytes(),
                region: place.region.to_bytes(),
                city: place.city.to_bytes(),
            });
            rows.len() as u32 - 1
        })
    }

    fn acquisition(&mut self, event: &Event) -> u32 {
        let acquisition = &event.acquisition;
        let address = Arc::as_ptr(acquisition) as usize;
        let rows = &mut self.batch.acquisitions;
        *self.acquisitions.entry(address).or_insert_with(|| {
            rows.push(stored::Acquisition {
                referrer: acquisition.referrer.to_bytes(),
                source: acquisition.source.to_bytes(),
                channel: acquisition.channel.to_bytes(),
                utm_source: acquisition.utm_source.to_bytes(),
                utm_medium: acquisition.utm_medium.to_bytes(),
                utm_campaign: acquisition.utm_campaign.to_bytes(),
                utm_content: acquisition.utm_content.to_bytes(),
                utm_term: acquisition.utm_term.to_bytes(),
                raw_referrer: acquisition.raw_referrer.to_bytes(),
            });
            rows.len() as u32 - 1
        })
    }
}

//! Writes an event batch in which shared attributes stand once, straight into the bytes of a log entry.

use std::sync::Arc;

use bytes::{BufMut, Bytes, BytesMut};
use hashbrown::HashMap;
use prost::{Message, encode_length_delimiter, length_delimiter_len};

use super::ENTRY_VERSION;
use crate::{Event, SiteId, Text, UnixMillis, stored};

/// The key of a field that carries its length, as protocol buffers write it.
const fn key(field: u8) -> u8 {
    field << 3 | 2
}

/// Fields of `EventBatch`.
const TEXTS: u8 = key(1);
const CLIENTS: u8 = key(2);
const PLACES: u8 = key(3);
const ACQUISITIONS: u8 = key(4);
const SITES: u8 = key(5);
/// Fields of `SiteEvents`.
const SITE_EVENTS: u8 = key(2);
const SITE_IMPORT: u8 = key(3);
/// Field of `PartitionEntry`.
const ENTRY_EVENTS: u8 = key(2);
/// The longest stamp with its key.
const STAMP_BYTES_MAX: usize = 11;
/// About what a stored event takes.
const EVENT_BYTES: usize = 64;

/// Collects events of any number of sites into the bytes of one [`stored::EventBatch`].
///
/// Texts and attribute groups are stored once per batch. Groups are told apart by address: the pipeline shares
/// one allocation among equal values where it can, and a second copy only costs a few bytes.
///
/// Events never exist as a list of [`stored::StoredEvent`]: that list would be larger than the events' bytes, and a
/// large allocation for each batch costs more than encoding it.
#[derive(Default)]
pub struct BatchWriter {
    texts: Table<Bytes>,
    clients: Table<usize>,
    places: Table<usize>,
    acquisitions: Table<usize>,
    /// The slices of the sites so far.
    sites: Vec<u8>,
    /// The slice that is being written.
    slice: Vec<u8>,
    events: usize,
}

/// Rows that stand once, and where each is.
struct Table<K> {
    positions: HashMap<K, u32>,
    bytes: Vec<u8>,
}

impl<K> Default for Table<K> {
    fn default() -> Self {
        Self {
            positions: HashMap::new(),
            bytes: Vec::new(),
        }
    }
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
    /// The events must stay alive until the batch is finished: their attribute groups are known by address.
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
        let mut slice = std::mem::take(&mut self.slice);
        slice.clear();
        let head = stored::SiteEvents {
            site: site.0,
            ..stored::SiteEvents::default()
        };
        put_plain(&head, &mut slice);
        for piece in pieces {
            let events = piece.as_ref();
            self.events += events.len();
            slice.reserve(events.len() * EVENT_BYTES);
            for event in events {
                put(SITE_EVENTS, &self.event(event), &mut slice);
            }
        }
        if let Some(import) = &import {
            put(SITE_IMPORT, import, &mut slice);
        }
        put_bytes(SITES, &slice, &mut self.sites);
        self.slice = slice;
    }

    /// The bytes of the log entry that holds this batch: what [`stored::PartitionEntry::to_log`] would write.
    #[must_use]
    pub fn into_log(self, stamp: UnixMillis) -> Bytes {
        let head = stored::PartitionEntry {
            stamp_ms: stamp.0,
            body: None,
        };
        let parts = self.parts();
        let len = parts.iter().map(|part| part.len()).sum::<usize>();
        let head_len = head.encoded_len() + length_delimiter_len(len);
        // A stamp may be appended in place.
        let mut bytes = BytesMut::with_capacity(2 + head_len + len + STAMP_BYTES_MAX);
        bytes.put_u8(ENTRY_VERSION);
        put_plain(&head, &mut bytes);
        bytes.put_u8(ENTRY_EVENTS);
        put_length(len, &mut bytes);
        for part in parts {
            bytes.put_slice(part);
        }
        bytes.freeze()
    }

    /// The batch as it is read back.
    #[must_use]
    pub fn finish(self) -> stored::EventBatch {
        stored::EventBatch::decode(Bytes::from(self.parts().concat()))
            .expect("the batch was just encoded")
    }

    /// The fields of the batch in the order of their numbers.
    fn parts(&self) -> [&[u8]; 5] {
        [
            &self.texts.bytes,
            &self.clients.bytes,
            &self.places.bytes,
            &self.acquisitions.bytes,
            &self.sites,
        ]
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
        let Table { positions, bytes } = &mut self.texts;
        if let Some(position) = positions.get(text.as_bytes()) {
            return *position;
        }
        let position = positions.len() as u32;
        positions.insert(text.to_bytes(), position);
        put_bytes(TEXTS, text.as_bytes(), bytes);
        position
    }

    fn client(&mut self, event: &Event) -> u32 {
        let client = &event.client;
        self.clients.position(Arc::as_ptr(client) as usize, |rows| {
            let row = stored::Client {
                browser: client.browser.to_bytes(),
                browser_version: client.browser_version.to_bytes(),
                os: client.os.to_bytes(),
                os_version: client.os_version.to_bytes(),
                device: client.device.to_bytes(),
                screen: client.screen.to_bytes(),
                language: client.language.to_bytes(),
                raw_user_agent: client.raw_user_agent.to_bytes(),
            };
            put(CLIENTS, &row, rows);
        })
    }

    fn place(&mut self, event: &Event) -> u32 {
        let place = &event.place;
        self.places.position(Arc::as_ptr(place) as usize, |rows| {
            let row = stored::Place {
                country: place.country.to_bytes(),
                region: place.region.to_bytes(),
                city: place.city.to_bytes(),
            };
            put(PLACES, &row, rows);
        })
    }

    fn acquisition(&mut self, event: &Event) -> u32 {
        let acquisition = &event.acquisition;
        let address = Arc::as_ptr(acquisition) as usize;
        self.acquisitions.position(address, |rows| {
            let row = stored::Acquisition {
                referrer: acquisition.referrer.to_bytes(),
                source: acquisition.source.to_bytes(),
                channel: acquisition.channel.to_bytes(),
                utm_source: acquisition.utm_source.to_bytes(),
                utm_medium: acquisition.utm_medium.to_bytes(),
                utm_campaign: acquisition.utm_campaign.to_bytes(),
                utm_content: acquisition.utm_content.to_bytes(),
                utm_term: acquisition.utm_term.to_bytes(),
                raw_referrer: acquisition.raw_referrer.to_bytes(),
            };
            put(ACQUISITIONS, &row, rows);
        })
    }
}

impl Table<usize> {
    /// The position of a group; `write` adds its row when it is new.
    fn position(&mut self, address: usize, write: impl FnOnce(&mut Vec<u8>)) -> u32 {
        let next = self.positions.len() as u32;
        *self.positions.entry(address).or_insert_with(|| {
            write(&mut self.bytes);
            next
        })
    }
}

fn put_plain(message: &impl Message, bytes: &mut impl BufMut) {
    message
        .encode(bytes)
        .expect("the buffer grows as it is written");
}

fn put(key: u8, message: &impl Message, bytes: &mut Vec<u8>) {
    bytes.put_u8(key);
    message
        .encode_length_delimited(bytes)
        .expect("the buffer grows as it is written");
}

fn put_bytes(key: u8, value: &[u8], bytes: &mut Vec<u8>) {
    bytes.put_u8(key);
    put_length(value.len(), bytes);
    bytes.put_slice(value);
}

fn put_length(length: usize, bytes: &mut impl BufMut) {
    encode_length_delimiter(length, bytes).expect("the buffer grows as it is written");
}

//! Gives each distinct text and attribute group of a site one position.

use bytes::Bytes;
use hashbrown::HashTable;
use ringtail_proto::{Acquisition, Client, Place, Text, stored};
use xxhash_rust::xxh3::xxh3_64;

use crate::{ValueId, Values, values::Chunked};

/// The writing side of [`Values`]. Positions are private to one site's memory: nothing stored or hashed depends on them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Interner {
    values: Values,
    texts: Index,
    clients: Index,
    places: Index,
    acquisitions: Index,
    /// Scratch space for the key of an attribute group.
    key: Vec<u8>,
    bytes: usize,
}

/// From the bytes of a value to its position.
#[derive(Clone, Debug, Default)]
struct Index {
    positions: HashTable<ValueId>,
    /// The bytes of each value; of a text they are shared with it.
    keys: Vec<Bytes>,
}

impl Index {
    fn find(&self, hash: u64, key: &[u8]) -> Option<ValueId> {
        let is_same = |id: &ValueId| {
            self.keys
                .get(*id as usize)
                .is_some_and(|known| known == key)
        };
        self.positions.find(hash, is_same).copied()
    }

    fn insert(&mut self, hash: u64, key: Bytes, position: ValueId) {
        self.keys.push(key);
        let keys = &self.keys;
        self.positions.insert_unique(hash, position, |id| {
            keys.get(*id as usize).map_or(0, |key| xxh3_64(key))
        });
    }
}

/// An attribute group that can be interned: its fields, and itself from fields.
trait Tuple: Clone {
    const FIELDS: usize;

    fn from_fields(next: impl FnMut() -> Text) -> Self;
}

impl Tuple for Client {
    const FIELDS: usize = 7;

    fn from_fields(mut next: impl FnMut() -> Text) -> Self {
        Self {
            browser: next(),
            browser_version: next(),
            os: next(),
            os_version: next(),
            device: next(),
            screen: next(),
            language: next(),
            raw_user_agent: Text::default(),
        }
    }
}

impl Tuple for Place {
    const FIELDS: usize = 3;

    fn from_fields(mut next: impl FnMut() -> Text) -> Self {
        Self {
            country: next(),
            region: next(),
            city: next(),
        }
    }
}

impl Tuple for Acquisition {
    const FIELDS: usize = 8;

    fn from_fields(mut next: impl FnMut() -> Text) -> Self {
        Self {
            referrer: next(),
            source: next(),
            channel: next(),
            utm_source: next(),
            utm_medium: next(),
            utm_campaign: next(),
            utm_content: next(),
            utm_term: next(),
            raw_referrer: Text::default(),
        }
    }
}

impl Interner {
    pub(crate) const fn values(&self) -> &Values {
        &self.values
    }

    /// About how many bytes the values take.
    pub(crate) const fn bytes(&self) -> usize {
        self.bytes
    }

    /// Takes bytes that should be UTF-8, as they stand in a batch.
    pub(crate) fn text_bytes(&mut self, bytes: &[u8]) -> ValueId {
        // What is known is UTF-8, so that only new bytes have to be looked at.
        let hash = xxh3_64(bytes);
        if let Some(id) = self.texts.find(hash, bytes) {
            return id;
        }
        match std::str::from_utf8(bytes) {
            Ok(text) => self.new_text(hash, text),
            Err(_) => self.text(&String::from_utf8_lossy(bytes)),
        }
    }

    pub(crate) fn text(&mut self, text: &str) -> ValueId {
        let hash = xxh3_64(text.as_bytes());
        match self.texts.find(hash, text.as_bytes()) {
            Some(id) => id,
            None => self.new_text(hash, text),
        }
    }

    fn new_text(&mut self, hash: u64, text: &str) -> ValueId {
        self.bytes += text.len() + 80;
        let text = Text::from(text);
        let key = text.to_bytes();
        let id = self.values.texts.push(text);
        self.texts.insert(hash, key, id);
        id
    }

    pub(crate) fn client(&mut self, client: &Client) -> ValueId {
        let Client {
            browser,
            browser_version,
            os,
            os_version,
            device,
            screen,
            language,
            raw_user_agent: _,
        } = client;
        let fields = [
            browser,
            browser_version,
            os,
            os_version,
            device,
            screen,
            language,
        ];
        let fields = fields.map(Text::to_bytes);
        self.client_fields(fields.each_ref())
    }

    pub(crate) fn place(&mut self, place: &Place) -> ValueId {
        let fields = [&place.country, &place.region, &place.city].map(Text::to_bytes);
        self.place_fields(fields.each_ref())
    }

    pub(crate) fn acquisition(&mut self, acquisition: &Acquisition) -> ValueId {
        let fields = [
            &acquisition.referrer,
            &acquisition.source,
            &acquisition.channel,
            &acquisition.utm_source,
            &acquisition.utm_medium,
            &acquisition.utm_campaign,
            &acquisition.utm_content,
            &acquisition.utm_term,
        ];
        let fields = fields.map(Text::to_bytes);
        self.acquisition_fields(fields.each_ref())
    }

    /// Interns a client of a batch.
    pub(crate) fn stored_client(&mut self, row: &stored::Client) -> ValueId {
        self.client_fields([
            &row.browser,
            &row.browser_version,
            &row.os,
            &row.os_version,
            &row.device,
            &row.screen,
            &row.language,
        ])
    }

    /// Interns a place of a batch.
    pub(crate) fn stored_place(&mut self, row: &stored::Place) -> ValueId {
        self.place_fields([&row.country, &row.region, &row.city])
    }

    /// Interns an acquisition of a batch.
    pub(crate) fn stored_acquisition(&mut self, row: &stored::Acquisition) -> ValueId {
        self.acquisition_fields([
            &row.referrer,
            &row.source,
            &row.channel,
            &row.utm_source,
            &row.utm_medium,
            &row.utm_campaign,
            &row.utm_content,
            &row.utm_term,
        ])
    }

    fn client_fields(&mut self, fields: [&Bytes; Client::FIELDS]) -> ValueId {
        let (index, rows) = (&mut self.clients, &mut self.values.clients);
        intern(index, rows, &mut self.key, &mut self.bytes, fields)
    }

    fn place_fields(&mut self, fields: [&Bytes; Place::FIELDS]) -> ValueId {
        let (index, rows) = (&mut self.places, &mut self.values.places);
        intern(index, rows, &mut self.key, &mut self.bytes, fields)
    }

    fn acquisition_fields(&mut self, fields: [&Bytes; Acquisition::FIELDS]) -> ValueId {
        let (index, rows) = (&mut self.acquisitions, &mut self.values.acquisitions);
        intern(index, rows, &mut self.key, &mut self.bytes, fields)
    }
}

/// The key holds all fields, each behind its length; the fields of a new value are slices of it, so that a dictionary
/// keeps no log entry alive. Fields that differ only in how they break UTF-8 become values of equal texts.
fn intern<T: Tuple, const N: usize>(
    index: &mut Index,
    rows: &mut Chunked<T>,
    key: &mut Vec<u8>,
    bytes: &mut usize,
    fields: [&Bytes; N],
) -> ValueId {
    key.clear();
    for field in fields {
        key.extend_from_slice(&(field.len() as u32).to_le_bytes());
        key.extend_from_slice(field);
    }
    let hash = xxh3_64(key);
    if let Some(id) = index.find(hash, key) {
        return id;
    }
    let key = Bytes::copy_from_slice(key);
    *bytes += size_of::<T>() + key.len() + 48;
    let mut at = 0;
    let mut lens = fields.into_iter().map(Bytes::len);
    let row = T::from_fields(|| {
        let start = at + size_of::<u32>();
        at = start + lens.next().unwrap_or(0);
        Text::from_bytes(key.slice(start..at))
    });
    let id = rows.push(row);
    index.insert(hash, key, id);
    id
}

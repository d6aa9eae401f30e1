//! Gives each distinct text and attribute group of a site one position.

use hashbrown::HashTable;
use ringtail_proto::{Acquisition, Client, Place, Text, stored};
use xxhash_rust::xxh3::{Xxh3, xxh3_64};

use crate::{ValueId, Values, values::Chunked};

/// The writing side of [`Values`]. Positions are private to one site's memory: nothing stored or hashed depends on them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Interner {
    values: Values,
    texts: HashTable<ValueId>,
    clients: HashTable<ValueId>,
    places: HashTable<ValueId>,
    acquisitions: HashTable<ValueId>,
    bytes: usize,
}

/// An attribute group that can be interned.
trait Tuple: Clone + PartialEq {
    fn fields(&self) -> impl Iterator<Item = &Text>;

    fn hash(&self) -> u64 {
        let mut hash = Xxh3::new();
        for field in self.fields() {
            let bytes = field.to_bytes();
            hash.update(&bytes);
            hash.update(&[0xff]);
        }
        hash.digest()
    }
}

impl Tuple for Client {
    fn fields(&self) -> impl Iterator<Item = &Text> {
        [
            &self.browser,
            &self.browser_version,
            &self.os,
            &self.os_version,
            &self.device,
            &self.screen,
            &self.language,
        ]
        .into_iter()
    }
}

impl Tuple for Place {
    fn fields(&self) -> impl Iterator<Item = &Text> {
        [&self.country, &self.region, &self.city].into_iter()
    }
}

impl Tuple for Acquisition {
    fn fields(&self) -> impl Iterator<Item = &Text> {
        [
            &self.referrer,
            &self.source,
            &self.channel,
            &self.utm_source,
            &self.utm_medium,
            &self.utm_campaign,
            &self.utm_content,
            &self.utm_term,
        ]
        .into_iter()
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
        match std::str::from_utf8(bytes) {
            Ok(text) => self.text(text),
            Err(_) => self.text(&String::from_utf8_lossy(bytes)),
        }
    }

    pub(crate) fn text(&mut self, text: &str) -> ValueId {
        let hash = xxh3_64(text.as_bytes());
        let texts = &mut self.values.texts;
        let known = self.texts.find(hash, |id| {
            texts
                .get(*id)
                .is_some_and(|known| known.to_bytes() == text.as_bytes())
        });
        if let Some(id) = known {
            return *id;
        }
        self.bytes += text.len() + 40;
        let id = texts.push(Text::from(text));
        self.texts.insert_unique(hash, id, |id| {
            texts.get(*id).map_or(0, |text| xxh3_64(&text.to_bytes()))
        });
        id
    }

    pub(crate) fn client(&mut self, client: &Client) -> ValueId {
        let bytes = &mut self.bytes;
        intern(&mut self.clients, &mut self.values.clients, bytes, client)
    }

    pub(crate) fn place(&mut self, place: &Place) -> ValueId {
        let bytes = &mut self.bytes;
        intern(&mut self.places, &mut self.values.places, bytes, place)
    }

    pub(crate) fn acquisition(&mut self, acquisition: &Acquisition) -> ValueId {
        let bytes = &mut self.bytes;
        let rows = &mut self.values.acquisitions;
        intern(&mut self.acquisitions, rows, bytes, acquisition)
    }

    /// Interns a client of a batch.
    pub(crate) fn stored_client(&mut self, row: &stored::Client) -> ValueId {
        let text = |bytes: &bytes::Bytes| Text::from_bytes(bytes.clone());
        self.client(&Client {
            browser: text(&row.browser),
            browser_version: text(&row.browser_version),
            os: text(&row.os),
            os_version: text(&row.os_version),
            device: text(&row.device),
            screen: text(&row.screen),
            language: text(&row.language),
            raw_user_agent: Text::default(),
        })
    }

    /// Interns a place of a batch.
    pub(crate) fn stored_place(&mut self, row: &stored::Place) -> ValueId {
        let text = |bytes: &bytes::Bytes| Text::from_bytes(bytes.clone());
        self.place(&Place {
            country: text(&row.country),
            region: text(&row.region),
            city: text(&row.city),
        })
    }

    /// Interns an acquisition of a batch.
    pub(crate) fn stored_acquisition(&mut self, row: &stored::Acquisition) -> ValueId {
        let text = |bytes: &bytes::Bytes| Text::from_bytes(bytes.clone());
        self.acquisition(&Acquisition {
            referrer: text(&row.referrer),
            source: text(&row.source),
            channel: text(&row.channel),
            utm_source: text(&row.utm_source),
            utm_medium: text(&row.utm_medium),
            utm_campaign: text(&row.utm_campaign),
            utm_content: text(&row.utm_content),
            utm_term: text(&row.utm_term),
            raw_referrer: Text::default(),
        })
    }
}

fn intern<T: Tuple + Owned>(
    index: &mut HashTable<ValueId>,
    rows: &mut Chunked<T>,
    bytes: &mut usize,
    tuple: &T,
) -> ValueId {
    let hash = tuple.hash();
    let known = index.find(hash, |id| rows.get(*id).is_some_and(|known| known == tuple));
    if let Some(id) = known {
        return *id;
    }
    let (owned, heap_bytes) = tuple.to_owned_texts();
    *bytes += size_of::<T>() + heap_bytes;
    let id = rows.push(owned);
    index.insert_unique(hash, id, |id| rows.get(*id).map_or(0, Tuple::hash));
    id
}

/// Copies the texts out of the log entry: a dictionary must not keep whole entries alive.
trait Owned: Sized {
    fn to_owned_texts(&self) -> (Self, usize);
}

/// All fields as slices of one allocation.
struct Copied {
    bytes: bytes::Bytes,
    at: usize,
}

impl Copied {
    fn of<'a>(fields: impl Iterator<Item = &'a Text>) -> Self {
        let mut all = Vec::new();
        for field in fields {
            all.extend_from_slice(&field.to_bytes());
        }
        Self {
            bytes: all.into(),
            at: 0,
        }
    }

    fn next(&mut self, field: &Text) -> Text {
        let len = field.to_bytes().len();
        let text = Text::from_bytes(self.bytes.slice(self.at..self.at + len));
        self.at += len;
        text
    }
}

impl Owned for Client {
    fn to_owned_texts(&self) -> (Self, usize) {
        let mut copied = Copied::of(self.fields());
        let len = copied.bytes.len();
        let owned = Self {
            browser: copied.next(&self.browser),
            browser_version: copied.next(&self.browser_version),
            os: copied.next(&self.os),
            os_version: copied.next(&self.os_version),
            device: copied.next(&self.device),
            screen: copied.next(&self.screen),
            language: copied.next(&self.language),
            raw_user_agent: Text::default(),
        };
        (owned, len)
    }
}

impl Owned for Place {
    fn to_owned_texts(&self) -> (Self, usize) {
        let mut copied = Copied::of(self.fields());
        let len = copied.bytes.len();
        let owned = Self {
            country: copied.next(&self.country),
            region: copied.next(&self.region),
            city: copied.next(&self.city),
        };
        (owned, len)
    }
}

impl Owned for Acquisition {
    fn to_owned_texts(&self) -> (Self, usize) {
        let mut copied = Copied::of(self.fields());
        let len = copied.bytes.len();
        let owned = Self {
            referrer: copied.next(&self.referrer),
            source: copied.next(&self.source),
            channel: copied.next(&self.channel),
            utm_source: copied.next(&self.utm_source),
            utm_medium: copied.next(&self.utm_medium),
            utm_campaign: copied.next(&self.utm_campaign),
            utm_content: copied.next(&self.utm_content),
            utm_term: copied.next(&self.utm_term),
            raw_referrer: Text::default(),
        };
        (owned, len)
    }
}

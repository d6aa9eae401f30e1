//! A made-up log, with everything in it that a log may hold, and its comparison with what comes back.

use bytes::Bytes;
use rand::{Rng, SeedableRng, seq::IndexedRandom};
use rand_chacha::ChaCha8Rng;
use ringtail_archive::{BuiltObject, EntryHead, ReplayItem, SealBuilder, SealOptions};
use ringtail_proto::{
    GroupId, LogIndex, UnixMillis, Verdict,
    stored::{
        Acquisition, Client, EventBatch, ImportMark, Place, Property, Revenue, SiteCommand,
        SiteEvents, SiteSettings, StoredEvent, site_command::Change,
    },
};

/// 2026-11-22, noon.
pub const NOON_MS: i64 = 1_795_348_800_000;

/// One entry of the log.
#[derive(Clone, Debug)]
pub enum Entry {
    Events {
        head: EntryHead,
        batch: EventBatch,
        /// The verdicts of each slice.
        codes: Vec<Vec<u8>>,
    },
    Command {
        head: EntryHead,
        command: SiteCommand,
    },
}

impl Entry {
    pub const fn head(&self) -> EntryHead {
        match self {
            Self::Events { head, .. } | Self::Command { head, .. } => *head,
        }
    }
}

/// What an event says, whatever the tables of its batch look like. None stands for a position that names nothing.
#[derive(Clone, Debug, PartialEq)]
pub struct Plain {
    rest: StoredEvent,
    name: Option<Bytes>,
    page: Option<Bytes>,
    hostname: Option<Bytes>,
    user_id: Option<Bytes>,
    client: Option<Client>,
    place: Option<Place>,
    acquisition: Option<Acquisition>,
    properties: Vec<Option<(Bytes, Bytes)>>,
}

impl Plain {
    pub const fn visitor(&self) -> u64 {
        self.rest.visitor
    }

    pub const fn visitor_previous(&self) -> u64 {
        self.rest.visitor_previous
    }
}

/// One slice or command in comparable shape.
#[derive(Clone, Debug, PartialEq)]
pub enum PlainItem {
    Slice {
        entry: EntryHead,
        slice: u32,
        site: u64,
        import: Option<ImportMark>,
        events: Vec<Plain>,
        codes: Vec<u8>,
    },
    Command(EntryHead, SiteCommand),
}

pub fn plain(batch: &EventBatch, event: &StoredEvent) -> Plain {
    let text = |position: u32| batch.texts.get(position as usize).cloned();
    Plain {
        name: text(event.name),
        page: text(event.page),
        hostname: text(event.hostname),
        user_id: event.user_id_plus_one.checked_sub(1).and_then(text),
        client: batch.clients.get(event.client as usize).cloned(),
        place: batch.places.get(event.place as usize).cloned(),
        acquisition: batch.acquisitions.get(event.acquisition as usize).cloned(),
        properties: event
            .properties
            .iter()
            .map(|property| text(property.key).zip(text(property.value)))
            .collect(),
        rest: StoredEvent {
            name: 0,
            page: 0,
            hostname: 0,
            client: 0,
            place: 0,
            acquisition: 0,
            user_id_plus_one: 0,
            properties: Vec::new(),
            ..event.clone()
        },
    }
}

/// What a replay of one site should bring.
pub fn items_of_site(log: &[Entry], site: u64) -> Vec<PlainItem> {
    let mut items = Vec::new();
    for entry in log {
        match entry {
            Entry::Command { head, command } if command.site == site => {
                items.push(PlainItem::Command(*head, command.clone()));
            }
            Entry::Command { .. } => {}
            Entry::Events { head, batch, codes } => {
                for (slice, events) in batch.sites.iter().enumerate() {
                    if events.site == site {
                        let codes = codes[slice].clone();
                        items.push(plain_slice(*head, slice as u32, batch, events, codes));
                    }
                }
            }
        }
    }
    items
}

pub fn plain_item(item: &ReplayItem) -> PlainItem {
    match item {
        ReplayItem::Command { entry, command } => PlainItem::Command(*entry, command.clone()),
        ReplayItem::Events(slice) => {
            assert_eq!(slice.batch.sites.len(), 1);
            let events = slice.events().unwrap();
            assert_eq!(events.events.len(), slice.offsets.len());
            let codes = slice.codes.clone();
            plain_slice(slice.entry, slice.slice, &slice.batch, events, codes)
        }
    }
}

fn plain_slice(
    entry: EntryHead,
    slice: u32,
    batch: &EventBatch,
    events: &SiteEvents,
    codes: Vec<u8>,
) -> PlainItem {
    PlainItem::Slice {
        entry,
        slice,
        site: events.site,
        import: events.import.clone(),
        events: events
            .events
            .iter()
            .map(|event| plain(batch, event))
            .collect(),
        codes,
    }
}

/// A log from a seed: the same seed, the same log.
pub struct LogMaker {
    random: ChaCha8Rng,
    pub sites: u64,
    index: u64,
    stamp_ms: i64,
}

impl LogMaker {
    pub fn new(seed: u64, sites: u64) -> Self {
        Self {
            random: ChaCha8Rng::seed_from_u64(seed),
            sites,
            index: 100,
            stamp_ms: NOON_MS,
        }
    }

    pub fn entries(&mut self, count: usize) -> Vec<Entry> {
        (0..count).map(|_| self.entry()).collect()
    }

    pub fn entry(&mut self) -> Entry {
        // Gaps are entries of no site: of the leader, of the archive itself.
        self.index += self.random.random_range(1..4);
        self.stamp_ms += self.random.random_range(0..50);
        let head = EntryHead {
            index: LogIndex(self.index),
            stamp: UnixMillis(self.stamp_ms),
            version: self.random.random_range(1..3),
        };
        if self.random.random_ratio(1, 8) {
            let command = self.command();
            return Entry::Command { head, command };
        }
        let batch = self.batch();
        let codes = batch
            .sites
            .iter()
            .map(|slice| slice.events.iter().map(|_| self.code()).collect())
            .collect();
        Entry::Events { head, batch, codes }
    }

    fn code(&mut self) -> u8 {
        match self.random.random_range(0..10) {
            0 => Verdict::Late.code(),
            1 => Verdict::Duplicate.code(),
            2 => 16 + self.random.random_range(1..14),
            // Of a newer version.
            3 => 61,
            _ => Verdict::Accepted.code(),
        }
    }

    fn command(&mut self) -> SiteCommand {
        let change = match self.random.random_range(0..3) {
            0 => Some(Change::Settings(SiteSettings {
                revision: self.random.random(),
                timezone: "Europe/Berlin".into(),
                visit_timeout_minutes: 30,
                ..SiteSettings::default()
            })),
            1 => Some(Change::ImportFinished("access.log".into())),
            _ => None,
        };
        SiteCommand {
            site: self.random.random_range(0..self.sites),
            change,
        }
    }

    fn batch(&mut self) -> EventBatch {
        let texts: Vec<Bytes> = ["", "pageview", "/", "/käse", "example.org", "Grüße 🦊"]
            .into_iter()
            .map(Bytes::from)
            .chain((0..self.random.random_range(0..8)).map(|n| format!("/page/{n}").into()))
            .collect();
        let mut batch = EventBatch {
            texts,
            clients: (0..4).map(|_| self.client()).collect(),
            places: (0..3).map(|_| self.place()).collect(),
            acquisitions: (0..3).map(|_| self.acquisition()).collect(),
            sites: Vec::new(),
        };
        for _ in 0..self.random.random_range(1..4) {
            // The same site may have several slices, and a slice may be empty.
            let count = match self.random.random_ratio(1, 6) {
                true => 0,
                false => self.random.random_range(1..12),
            };
            let events: Vec<StoredEvent> = (0..count).map(|_| self.event(&batch)).collect();
            let import = self.random.random_ratio(1, 3).then(|| self.mark(count));
            batch.sites.push(SiteEvents {
                site: self.random.random_range(0..self.sites),
                events,
                import,
            });
        }
        batch
    }

    fn mark(&mut self, events: usize) -> ImportMark {
        let first_line = self.random.random_range(0..1 << 40);
        // Sometimes a broken mark, which apply refused and must refuse again.
        let lines = match self.random.random_range(0..6) {
            0 => 0,
            1 => events + 2,
            _ => events,
        };
        ImportMark {
            source: ["access.log", "ga4.csv"]
                .choose(&mut self.random)
                .copied()
                .unwrap_or_default()
                .into(),
            first_line,
            last_line: first_line + 100,
            prefix_hash: self.random.random::<[u8; 32]>().to_vec().into(),
            lines: (0..lines).map(|_| self.random.random()).collect(),
        }
    }

    fn word(&mut self) -> Bytes {
        [
            "",
            "Firefox",
            "de",
            "Zürich",
            "a longer text that says more",
            "x",
        ]
        .choose(&mut self.random)
        .copied()
        .unwrap_or_default()
        .into()
    }

    fn client(&mut self) -> Client {
        Client {
            browser: self.word(),
            browser_version: self.word(),
            os: self.word(),
            os_version: self.word(),
            device: self.word(),
            screen: self.word(),
            language: self.word(),
            raw_user_agent: self.word(),
        }
    }

    fn place(&mut self) -> Place {
        Place {
            country: self.word(),
            region: self.word(),
            city: self.word(),
        }
    }

    fn acquisition(&mut self) -> Acquisition {
        Acquisition {
            referrer: self.word(),
            source: self.word(),
            channel: self.word(),
            utm_source: self.word(),
            utm_medium: self.word(),
            utm_campaign: self.word(),
            utm_content: self.word(),
            utm_term: self.word(),
            raw_referrer: self.word(),
        }
    }

    /// A position in a table, or now and then one that names nothing.
    fn position(&mut self, len: usize) -> u32 {
        match self.random.random_ratio(1, 50) {
            true => u32::MAX,
            false => self.random.random_range(0..len as u32),
        }
    }

    fn event(&mut self, batch: &EventBatch) -> StoredEvent {
        let texts = batch.texts.len();
        let time_ms = match self.random.random_range(0..4) {
            0 => 0,
            1 => self.stamp_ms + self.random.random_range(0..200_000),
            2 => self.random.random(),
            _ => self.stamp_ms - self.random.random_range(0..10_000_000),
        };
        StoredEvent {
            id_high: self.random.random(),
            id_low: self.random.random(),
            visitor: self.random.random_range(0..20) * 0x1234_5678_9abc,
            visitor_previous: self.random.random_range(0..2) * u64::MAX,
            time_ms,
            name: self.position(texts),
            page: self.position(texts),
            hostname: self.position(texts),
            client: self.position(batch.clients.len()),
            place: self.position(batch.places.len()),
            acquisition: self.position(batch.acquisitions.len()),
            flags: self.random.random_range(0..4),
            scroll_depth_plus_one: *[0, 1, 101, u32::MAX].choose(&mut self.random).unwrap(),
            engaged_ms: *[0, 17, u32::MAX].choose(&mut self.random).unwrap(),
            properties: (0..self.random.random_range(0..3))
                .map(|_| Property {
                    key: self.position(texts),
                    value: self.position(texts),
                })
                .collect(),
            revenue: self.random.random_ratio(1, 4).then(|| Revenue {
                amount_micros: self.random.random(),
                currency: "CHF".into(),
            }),
            user_id_plus_one: match self.random.random_ratio(1, 3) {
                true => self.random.random_range(1..=texts as u32),
                false => 0,
            },
            dropped: self.random.random_range(0..16),
        }
    }
}

/// Seals entries of one day.
pub fn seal(group: u32, entries: &[Entry]) -> Vec<BuiltObject> {
    let mut builder = SealBuilder::new(GroupId(group), SealOptions::default());
    add(&mut builder, entries);
    builder.finish().unwrap()
}

pub fn add(builder: &mut SealBuilder, entries: &[Entry]) {
    for entry in entries {
        match entry {
            Entry::Command { head, command } => builder.command(*head, command).unwrap(),
            Entry::Events { head, batch, codes } => {
                for (slice, (events, codes)) in batch.sites.iter().zip(codes).enumerate() {
                    builder
                        .events(*head, slice as u32, batch, events, codes)
                        .unwrap();
                }
            }
        }
    }
}

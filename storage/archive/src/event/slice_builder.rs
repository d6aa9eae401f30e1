//! From rows back to the slice of a batch that they were.

use std::hash::Hash;

use bytes::Bytes;
use hashbrown::HashMap;
use ringtail_proto::stored::{
    Acquisition, Client, EventBatch, Place, Property, Revenue, SiteEvents, StoredEvent,
};

use super::{
    columns::at,
    rows::{EventRows, SharedTexts, or_zero},
};

/// A position that names nothing, as it was in the event.
const NOWHERE: u32 = u32::MAX;

/// Collects the events of one slice after the other; attribute groups stand once in a slice.
#[derive(Default)]
pub(crate) struct SliceBuilder {
    batch: EventBatch,
    events: Vec<StoredEvent>,
    lines: Vec<u64>,
    known: Known,
}

/// Where values stand in the batch. They are known by the number of their batch of rows and their keys in its
/// dictionaries: no text is compared.
#[derive(Default)]
struct Known {
    texts: HashMap<(usize, TextColumn, u32), u32>,
    properties: HashMap<Bytes, u32>,
    clients: HashMap<(usize, [u32; 8]), u32>,
    places: HashMap<(usize, [u32; 3]), u32>,
    acquisitions: HashMap<(usize, [u32; 9]), u32>,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum TextColumn {
    Name,
    Page,
    Hostname,
    User,
}

impl SliceBuilder {
    /// Adds the event of a row; none when the row is not what we write.
    pub(crate) fn push(&mut self, rows: &EventRows, number: usize, row: usize) -> Option<()> {
        let id = u128::from_be_bytes(rows.ids.value(row).try_into().ok()?);
        self.lines.extend(at(&rows.import_lines, row));
        let event = StoredEvent {
            id_high: (id >> 64) as u64,
            id_low: id as u64,
            visitor: rows.visitors.value(row),
            visitor_previous: or_zero(&rows.visitors_previous, row),
            time_ms: or_zero(&rows.client_times, row),
            name: self.text(TextColumn::Name, &rows.names, number, row),
            page: self.text(TextColumn::Page, &rows.pages, number, row),
            hostname: self.text(TextColumn::Hostname, &rows.hostnames, number, row),
            client: self.client(rows, number, row),
            place: self.place(rows, number, row),
            acquisition: self.acquisition(rows, number, row),
            flags: rows.flags.value(row),
            scroll_depth_plus_one: at(&rows.scroll_depths, row)
                .map_or(0, |depth| depth.saturating_add(1)),
            engaged_ms: rows.engaged_ms.value(row),
            properties: self.properties(rows, row),
            revenue: at(&rows.revenues, row).map(|amount_micros| Revenue {
                amount_micros,
                currency: rows.currencies.text(row),
            }),
            // Nowhere plus one is none.
            user_id_plus_one: self
                .text(TextColumn::User, &rows.user_ids, number, row)
                .wrapping_add(1),
            dropped: rows.stored_drop(row)?,
        };
        self.events.push(event);
        Some(())
    }

    /// The batch with its one slice; the mark of an import is completed with the lines of the events. The next slice
    /// begins empty.
    pub(crate) fn finish(&mut self, site: u64, without_events: Option<SiteEvents>) -> EventBatch {
        let mut import = without_events.and_then(|slice| slice.import);
        // A mark with lines of its own had others than its events when it was sealed.
        if let Some(mark) = &mut import
            && mark.lines.is_empty()
        {
            let first = mark.first_line;
            let lines = self.lines.iter();
            mark.lines = lines.map(|line| line.wrapping_sub(first) as u32).collect();
        }
        self.lines.clear();
        self.known.clear();
        let mut batch = std::mem::take(&mut self.batch);
        batch.sites.push(SiteEvents {
            site,
            events: std::mem::take(&mut self.events),
            import,
        });
        batch
    }

    fn text(&mut self, column: TextColumn, texts: &SharedTexts, number: usize, row: usize) -> u32 {
        let Some(text) = texts.get(row) else {
            return NOWHERE;
        };
        let key = (number, column, texts.key(row));
        known_or(&mut self.known.texts, key, &mut self.batch.texts, || {
            text.clone()
        })
    }

    fn properties(&mut self, rows: &EventRows, row: usize) -> Vec<Property> {
        let (known, texts) = (&mut self.known.properties, &mut self.batch.texts);
        let mut position = |text: Bytes| known_or(known, text.clone(), texts, || text);
        rows.properties(row)
            .map(|(key, value)| Property {
                key: position(key),
                value: value.map_or(NOWHERE, &mut position),
            })
            .collect()
    }

    fn client(&mut self, rows: &EventRows, number: usize, row: usize) -> u32 {
        let keys = rows.clients.each_ref().map(|column| column.key(row));
        if keys.contains(&NOWHERE) {
            return NOWHERE;
        }
        let clients = &mut self.batch.clients;
        known_or(&mut self.known.clients, (number, keys), clients, || {
            let [
                browser,
                browser_version,
                os,
                os_version,
                device,
                screen,
                language,
                raw,
            ] = rows.clients.each_ref().map(|column| column.text(row));
            Client {
                browser,
                browser_version,
                os,
                os_version,
                device,
                screen,
                language,
                raw_user_agent: raw,
            }
        })
    }

    fn place(&mut self, rows: &EventRows, number: usize, row: usize) -> u32 {
        let keys = rows.places.each_ref().map(|column| column.key(row));
        if keys.contains(&NOWHERE) {
            return NOWHERE;
        }
        let places = &mut self.batch.places;
        known_or(&mut self.known.places, (number, keys), places, || {
            let [country, region, city] = rows.places.each_ref().map(|column| column.text(row));
            Place {
                country,
                region,
                city,
            }
        })
    }

    fn acquisition(&mut self, rows: &EventRows, number: usize, row: usize) -> u32 {
        let keys = rows.acquisitions.each_ref().map(|column| column.key(row));
        if keys.contains(&NOWHERE) {
            return NOWHERE;
        }
        let (known, table) = (&mut self.known.acquisitions, &mut self.batch.acquisitions);
        known_or(known, (number, keys), table, || {
            let [
                referrer,
                source,
                channel,
                utm_source,
                medium,
                campaign,
                content,
                term,
                raw,
            ] = rows.acquisitions.each_ref().map(|column| column.text(row));
            Acquisition {
                referrer,
                source,
                channel,
                utm_source,
                utm_medium: medium,
                utm_campaign: campaign,
                utm_content: content,
                utm_term: term,
                raw_referrer: raw,
            }
        })
    }
}

impl Known {
    /// Forgets everything and keeps the room.
    fn clear(&mut self) {
        self.texts.clear();
        self.properties.clear();
        self.clients.clear();
        self.places.clear();
        self.acquisitions.clear();
    }
}

/// Where a value stands in a table; it is added when it is new.
fn known_or<K: Eq + Hash, T>(
    known: &mut HashMap<K, u32>,
    key: K,
    table: &mut Vec<T>,
    value: impl FnOnce() -> T,
) -> u32 {
    *known.entry(key).or_insert_with(|| {
        table.push(value());
        table.len() as u32 - 1
    })
}

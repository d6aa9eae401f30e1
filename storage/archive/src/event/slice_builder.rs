//! From rows back to the slice of a batch that they were.

use bytes::Bytes;
use hashbrown::HashMap;
use ringtail_proto::stored::{
    Acquisition, Client, EventBatch, Place, Property, Revenue, SiteEvents, StoredEvent,
};

use super::rows::{EventRows, SharedTexts, or_zero};

/// A position that names nothing, as it was in the event.
const NOWHERE: u32 = u32::MAX;

/// Collects the events of one slice; texts and attribute groups stand once.
#[derive(Default)]
pub(crate) struct SliceBuilder {
    batch: EventBatch,
    events: Vec<StoredEvent>,
    lines: Vec<u64>,
    texts: HashMap<Bytes, u32>,
    // Groups are known by the number of the batch of rows and the keys of their texts in it.
    clients: HashMap<(usize, [u32; 8]), u32>,
    places: HashMap<(usize, [u32; 3]), u32>,
    acquisitions: HashMap<(usize, [u32; 9]), u32>,
}

impl SliceBuilder {
    /// Adds the event of a row; none when the row is not what we write.
    pub(crate) fn push(&mut self, rows: &EventRows, rows_number: usize, row: usize) -> Option<()> {
        let id = u128::from_be_bytes(rows.ids.value(row).try_into().ok()?);
        if let Some(line) = super::columns::at(&rows.import_lines, row) {
            self.lines.push(line);
        }
        let event = StoredEvent {
            id_high: (id >> 64) as u64,
            id_low: id as u64,
            visitor: rows.visitors.value(row),
            visitor_previous: or_zero(&rows.visitors_previous, row),
            time_ms: or_zero(&rows.client_times, row),
            name: self.text_of(&rows.names, row),
            page: self.text_of(&rows.pages, row),
            hostname: self.text_of(&rows.hostnames, row),
            client: self.client(rows, rows_number, row),
            place: self.place(rows, rows_number, row),
            acquisition: self.acquisition(rows, rows_number, row),
            flags: rows.flags.value(row),
            scroll_depth_plus_one: super::columns::at(&rows.scroll_depths, row)
                .map_or(0, |depth| depth.saturating_add(1)),
            engaged_ms: rows.engaged_ms.value(row),
            properties: self.properties(rows, row),
            revenue: super::columns::at(&rows.revenues, row).map(|amount_micros| Revenue {
                amount_micros,
                currency: rows.currencies.text(row),
            }),
            user_id_plus_one: match rows.user_ids.get(row) {
                None => 0,
                Some(user) => self.text(user) + 1,
            },
            dropped: rows.stored_drop(row)?,
        };
        self.events.push(event);
        Some(())
    }

    /// The batch with its one slice; the mark of an import is completed with the lines of the events.
    pub(crate) fn finish(mut self, site: u64, without_events: Option<SiteEvents>) -> EventBatch {
        let mut import = without_events.and_then(|slice| slice.import);
        // A mark with lines of its own had others than its events when it was sealed.
        if let Some(mark) = &mut import
            && mark.lines.is_empty()
        {
            let first = mark.first_line;
            let lines = self.lines.iter();
            mark.lines = lines.map(|line| line.wrapping_sub(first) as u32).collect();
        }
        self.batch.sites.push(SiteEvents {
            site,
            events: self.events,
            import,
        });
        self.batch
    }

    fn text_of(&mut self, column: &SharedTexts, row: usize) -> u32 {
        match column.get(row) {
            None => NOWHERE,
            Some(text) => self.text(text),
        }
    }

    fn text(&mut self, text: &Bytes) -> u32 {
        if let Some(position) = self.texts.get(text) {
            return *position;
        }
        let position = self.batch.texts.len() as u32;
        self.batch.texts.push(text.clone());
        self.texts.insert(text.clone(), position);
        position
    }

    fn properties(&mut self, rows: &EventRows, row: usize) -> Vec<Property> {
        rows.properties(row)
            .map(|(key, value)| match value {
                None => Property {
                    key: self.text(&Bytes::copy_from_slice(key.as_bytes())),
                    value: NOWHERE,
                },
                Some(value) => Property {
                    key: self.text(&Bytes::copy_from_slice(key.as_bytes())),
                    value: self.text(&Bytes::copy_from_slice(value.as_bytes())),
                },
            })
            .collect()
    }

    fn client(&mut self, rows: &EventRows, rows_number: usize, row: usize) -> u32 {
        let keys = rows.clients.each_ref().map(|column| column.key(row));
        if keys.contains(&NOWHERE) {
            return NOWHERE;
        }
        let clients = &mut self.batch.clients;
        *self.clients.entry((rows_number, keys)).or_insert_with(|| {
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
            clients.push(Client {
                browser,
                browser_version,
                os,
                os_version,
                device,
                screen,
                language,
                raw_user_agent: raw,
            });
            clients.len() as u32 - 1
        })
    }

    fn place(&mut self, rows: &EventRows, rows_number: usize, row: usize) -> u32 {
        let keys = rows.places.each_ref().map(|column| column.key(row));
        if keys.contains(&NOWHERE) {
            return NOWHERE;
        }
        let places = &mut self.batch.places;
        *self.places.entry((rows_number, keys)).or_insert_with(|| {
            let [country, region, city] = rows.places.each_ref().map(|column| column.text(row));
            places.push(Place {
                country,
                region,
                city,
            });
            places.len() as u32 - 1
        })
    }

    fn acquisition(&mut self, rows: &EventRows, rows_number: usize, row: usize) -> u32 {
        let keys = rows.acquisitions.each_ref().map(|column| column.key(row));
        if keys.contains(&NOWHERE) {
            return NOWHERE;
        }
        let acquisitions = &mut self.batch.acquisitions;
        *self
            .acquisitions
            .entry((rows_number, keys))
            .or_insert_with(|| {
                let [
                    referrer,
                    source,
                    channel,
                    utm_source,
                    utm_medium,
                    utm_campaign,
                    content,
                    term,
                    raw,
                ] = rows.acquisitions.each_ref().map(|column| column.text(row));
                acquisitions.push(Acquisition {
                    referrer,
                    source,
                    channel,
                    utm_source,
                    utm_medium,
                    utm_campaign,
                    utm_content: content,
                    utm_term: term,
                    raw_referrer: raw,
                });
                acquisitions.len() as u32 - 1
            })
    }
}

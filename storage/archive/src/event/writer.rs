//! Stored events as columns.

use std::sync::Arc;

use arrow_array::{
    ArrayRef, BooleanArray, FixedSizeBinaryArray, RecordBatch,
    builder::{MapBuilder, MapFieldNames, StringBuilder},
    types::{ArrowPrimitiveType, Int64Type, UInt8Type, UInt32Type, UInt64Type},
};
use arrow_buffer::Buffer;
use bytes::Bytes;
use ringtail_proto::{
    EventFlags,
    stored::{self, EventBatch, SiteEvents, StoredEvent},
};

use super::verdict;
use crate::{
    error::ArchiveError,
    intern::Interned,
    seal::EntryHead,
    table::{ACQUISITION_COLUMNS, CLIENT_COLUMNS, PLACE_COLUMNS, SortKey, Table},
};

/// A client's time further ahead of the stamp does not count; the stamp does.
const AHEAD_MS_MAX: i64 = 60_000;

/// Collects events in any order.
#[derive(Default)]
pub(crate) struct EventWriter {
    keys: Vec<SortKey>,
    client_times: Vec<Option<i64>>,
    stamps: Vec<i64>,
    verdicts: Interned<Bytes>,
    drop_reasons: Interned<Bytes>,
    stored_drop_reasons: Interned<Bytes>,
    rule_versions: Vec<u8>,
    ids: Vec<[u8; 16]>,
    visitors: Vec<u64>,
    visitors_previous: Vec<Option<u64>>,
    names: Interned<Bytes>,
    pages: Interned<Bytes>,
    hostnames: Interned<Bytes>,
    clients: Interned<stored::Client>,
    places: Interned<stored::Place>,
    acquisitions: Interned<stored::Acquisition>,
    flags: Vec<u32>,
    scroll_depths: Vec<Option<u32>>,
    engaged_ms: Vec<u32>,
    revenues: Vec<Option<i64>>,
    currencies: Interned<Bytes>,
    user_ids: Interned<Bytes>,
    properties: Properties,
    import_sources: Interned<Bytes>,
    import_lines: Vec<Option<u64>>,
    shared: Shared,
}

/// Where the values of one batch stand: the slices of an entry share their batch's tables.
#[derive(Default)]
struct Shared {
    /// The entry, and the address of its batch: an entry that is read a second time has the same tables.
    batch: (u64, usize),
    names: Vec<u32>,
    pages: Vec<u32>,
    hostnames: Vec<u32>,
    clients: Vec<u32>,
    places: Vec<u32>,
    acquisitions: Vec<u32>,
}

/// Keys and values of all rows, one after the other.
#[derive(Default)]
struct Properties {
    /// Where each row's begin; the next row's beginning is its end.
    starts: Vec<usize>,
    pairs: Vec<(Bytes, Option<Bytes>)>,
}

impl EventWriter {
    pub(crate) const fn len(&self) -> usize {
        self.keys.len()
    }

    /// Adds the events of one slice; there is one code for each.
    pub(crate) fn push_slice(
        &mut self,
        entry: EntryHead,
        slice: u32,
        batch: &EventBatch,
        events: &SiteEvents,
        codes: &[u8],
    ) {
        let batch_now = (entry.index.0, std::ptr::from_ref(batch).addr());
        if self.shared.batch != batch_now {
            self.shared = Shared {
                batch: batch_now,
                ..Shared::default()
            };
        }
        let lines = events
            .import
            .as_ref()
            .filter(|mark| mark.lines.len() == events.events.len());
        for (offset, (event, code)) in events.events.iter().zip(codes).enumerate() {
            let time_ms = counted_time_ms(event, entry.stamp.0);
            let offset = offset as u32;
            self.keys
                .push((events.site, time_ms, entry.index.0, slice, offset));
            self.stamps.push(entry.stamp.0);
            self.rule_versions.push(entry.version);
            self.push_verdict(event, *code);
            self.push_event(event, batch);
            self.import_sources
                .push(events.import.as_ref().map(|mark| &mark.source));
            self.import_lines.push(lines.and_then(|mark| {
                let line = mark.lines.get(offset as usize)?;
                Some(mark.first_line.wrapping_add(u64::from(*line)))
            }));
        }
    }

    fn push_verdict(&mut self, event: &StoredEvent, code: u8) {
        let (word, reason) = verdict::to_words(code);
        self.verdicts.push(Some(&word));
        self.drop_reasons.push(reason.as_ref());
        let stored = (event.dropped != 0).then(|| verdict::reason_word(event.dropped));
        self.stored_drop_reasons.push(stored.as_ref());
    }

    fn push_event(&mut self, event: &StoredEvent, batch: &EventBatch) {
        let text = |position: u32| batch.texts.get(position as usize);
        let id = u128::from(event.id_high) << 64 | u128::from(event.id_low);
        self.ids.push(id.to_be_bytes());
        self.client_times
            .push((event.time_ms != 0).then_some(event.time_ms));
        self.visitors.push(event.visitor);
        self.visitors_previous
            .push((event.visitor_previous != 0).then_some(event.visitor_previous));
        let (texts, shared) = (&batch.texts, &mut self.shared);
        self.names.push_shared(&mut shared.names, texts, event.name);
        self.pages.push_shared(&mut shared.pages, texts, event.page);
        self.hostnames
            .push_shared(&mut shared.hostnames, texts, event.hostname);
        self.clients
            .push_shared(&mut shared.clients, &batch.clients, event.client);
        self.places
            .push_shared(&mut shared.places, &batch.places, event.place);
        self.acquisitions.push_shared(
            &mut shared.acquisitions,
            &batch.acquisitions,
            event.acquisition,
        );
        self.flags.push(event.flags);
        self.scroll_depths
            .push(event.scroll_depth_plus_one.checked_sub(1));
        self.engaged_ms.push(event.engaged_ms);
        let revenue = event.revenue.as_ref();
        self.revenues
            .push(revenue.map(|revenue| revenue.amount_micros));
        self.currencies
            .push(revenue.map(|revenue| &revenue.currency));
        let user = event.user_id_plus_one.checked_sub(1);
        self.user_ids.push(user.and_then(text));
        self.properties.starts.push(self.properties.pairs.len());
        for property in &event.properties {
            let key = text(property.key).cloned();
            // A key that points nowhere makes the event as broken as a value that does.
            let value = key.as_ref().and_then(|_| text(property.value).cloned());
            self.properties.pairs.push((key.unwrap_or_default(), value));
        }
    }

    /// The rows in the order of their keys.
    pub(crate) fn finish(self) -> Result<RecordBatch, ArchiveError> {
        let mut order: Vec<u32> = (0..self.keys.len() as u32).collect();
        order.sort_unstable_by_key(|row| self.keys.get(*row as usize));
        let order = order.as_slice();
        let keys: Vec<SortKey> = in_order(&self.keys, order).collect();
        let flags: Vec<u32> = in_order(&self.flags, order).collect();
        let is_interactive = |flags: &u32| Some(EventFlags(*flags).is_interactive());
        let ids: Vec<u8> = in_order(&self.ids, order).flatten().collect();
        let ids = FixedSizeBinaryArray::try_new(16, Buffer::from_vec(ids), None)
            .map_err(ArchiveError::encode)?;
        let mut columns: Vec<ArrayRef> = vec![
            required::<UInt64Type>(keys.iter().map(|key| key.0)),
            required::<Int64Type>(keys.iter().map(|key| key.1)),
            optional::<Int64Type>(in_order(&self.client_times, order)),
            required::<Int64Type>(in_order(&self.stamps, order)),
            required::<UInt64Type>(keys.iter().map(|key| key.2)),
            required::<UInt32Type>(keys.iter().map(|key| key.3)),
            required::<UInt32Type>(keys.iter().map(|key| key.4)),
            Arc::new(self.verdicts.text_column(order)),
            Arc::new(self.drop_reasons.text_column(order)),
            Arc::new(self.stored_drop_reasons.text_column(order)),
            required::<UInt8Type>(in_order(&self.rule_versions, order)),
            Arc::new(ids),
            required::<UInt64Type>(in_order(&self.visitors, order)),
            optional::<UInt64Type>(in_order(&self.visitors_previous, order)),
            Arc::new(self.names.text_column(order)),
            Arc::new(self.pages.text_column(order)),
            Arc::new(self.hostnames.text_column(order)),
        ];
        for name in CLIENT_COLUMNS {
            let text = move |client| client_text(client, name);
            columns.push(Arc::new(self.clients.column(order, text)));
        }
        for name in PLACE_COLUMNS {
            let text = move |place| place_text(place, name);
            columns.push(Arc::new(self.places.column(order, text)));
        }
        for name in ACQUISITION_COLUMNS {
            let text = move |acquisition| acquisition_text(acquisition, name);
            columns.push(Arc::new(self.acquisitions.column(order, text)));
        }
        columns.extend([
            Arc::new(BooleanArray::from_iter(flags.iter().map(is_interactive))) as ArrayRef,
            required::<UInt32Type>(flags.iter().copied()),
            optional::<UInt32Type>(in_order(&self.scroll_depths, order)),
            required::<UInt32Type>(in_order(&self.engaged_ms, order)),
            optional::<Int64Type>(in_order(&self.revenues, order)),
            Arc::new(self.currencies.text_column(order)),
            Arc::new(self.user_ids.text_column(order)),
            self.properties.column(order)?,
            Arc::new(self.import_sources.text_column(order)),
            optional::<UInt64Type>(in_order(&self.import_lines, order)),
        ]);
        RecordBatch::try_new(Table::Events.schema(), columns).map_err(ArchiveError::encode)
    }
}

impl Properties {
    fn column(&self, order: &[u32]) -> Result<ArrayRef, ArchiveError> {
        let names = MapFieldNames {
            entry: "key_value".to_owned(),
            key: "key".to_owned(),
            value: "value".to_owned(),
        };
        let mut map = MapBuilder::new(Some(names), StringBuilder::new(), StringBuilder::new());
        for row in order {
            let row = *row as usize;
            let start = self.starts.get(row).copied().unwrap_or_default();
            let end = self.starts.get(row + 1).copied();
            let pairs = self.pairs.get(start..end.unwrap_or(self.pairs.len()));
            for (key, value) in pairs.unwrap_or_default() {
                map.keys().append_value(String::from_utf8_lossy(key));
                map.values()
                    .append_option(value.as_ref().map(|value| String::from_utf8_lossy(value)));
            }
            map.append(true).map_err(ArchiveError::encode)?;
        }
        Ok(Arc::new(map.finish()))
    }
}

/// The time by which reports count the event, as far as its archive row is concerned: what apply made of it is the verdict.
fn counted_time_ms(event: &StoredEvent, stamp_ms: i64) -> i64 {
    match event.time_ms {
        0 => stamp_ms,
        time_ms if time_ms > stamp_ms.saturating_add(AHEAD_MS_MAX) => stamp_ms,
        time_ms => time_ms,
    }
}

pub(crate) fn in_order<'a, T: Copy>(
    values: &'a [T],
    order: &'a [u32],
) -> impl Iterator<Item = T> + 'a {
    order
        .iter()
        .filter_map(|row| values.get(*row as usize).copied())
}

pub(crate) fn required<T: ArrowPrimitiveType>(values: impl Iterator<Item = T::Native>) -> ArrayRef {
    Arc::new(arrow_array::PrimitiveArray::<T>::from_iter_values(values))
}

pub(crate) fn optional<T: ArrowPrimitiveType>(
    values: impl Iterator<Item = Option<T::Native>>,
) -> ArrayRef
where
    arrow_array::PrimitiveArray<T>: FromIterator<Option<T::Native>>,
{
    Arc::new(arrow_array::PrimitiveArray::<T>::from_iter(values))
}

fn client_text<'a>(client: &'a stored::Client, column: &str) -> &'a Bytes {
    match column {
        "browser" => &client.browser,
        "browser_version" => &client.browser_version,
        "os" => &client.os,
        "os_version" => &client.os_version,
        "device" => &client.device,
        "screen" => &client.screen,
        "language" => &client.language,
        _ => &client.raw_user_agent,
    }
}

fn place_text<'a>(place: &'a stored::Place, column: &str) -> &'a Bytes {
    match column {
        "country" => &place.country,
        "region" => &place.region,
        _ => &place.city,
    }
}

fn acquisition_text<'a>(acquisition: &'a stored::Acquisition, column: &str) -> &'a Bytes {
    match column {
        "referrer" => &acquisition.referrer,
        "source" => &acquisition.source,
        "channel" => &acquisition.channel,
        "utm_source" => &acquisition.utm_source,
        "utm_medium" => &acquisition.utm_medium,
        "utm_campaign" => &acquisition.utm_campaign,
        "utm_content" => &acquisition.utm_content,
        "utm_term" => &acquisition.utm_term,
        _ => &acquisition.raw_referrer,
    }
}

//! Rows of the table `events`, to be turned into stored events again.

use arrow_array::{
    Array, FixedSizeBinaryArray, Int64Array, MapArray, RecordBatch, UInt8Array, UInt32Array,
    UInt64Array,
    cast::AsArray,
    types::{Int64Type, UInt8Type},
};
use bytes::Bytes;

use super::{
    columns::{Texts, at, primitive, shared_texts, u32s, u64s},
    verdict,
};
use crate::table::{ACQUISITION_COLUMNS, CLIENT_COLUMNS, PLACE_COLUMNS};

/// The columns of one batch.
#[derive(Debug)]
pub(crate) struct EventRows {
    pub(crate) sites: UInt64Array,
    pub(crate) stamps: Int64Array,
    pub(crate) indexes: UInt64Array,
    pub(crate) slices: UInt32Array,
    pub(crate) offsets: UInt32Array,
    pub(crate) rule_versions: UInt8Array,
    pub(crate) client_times: Int64Array,
    pub(crate) ids: FixedSizeBinaryArray,
    pub(crate) visitors: UInt64Array,
    pub(crate) visitors_previous: UInt64Array,
    pub(crate) flags: UInt32Array,
    pub(crate) scroll_depths: UInt32Array,
    pub(crate) engaged_ms: UInt32Array,
    pub(crate) revenues: Int64Array,
    pub(crate) import_lines: UInt64Array,
    pub(crate) names: SharedTexts,
    pub(crate) pages: SharedTexts,
    pub(crate) hostnames: SharedTexts,
    pub(crate) currencies: SharedTexts,
    pub(crate) user_ids: SharedTexts,
    pub(crate) clients: [SharedTexts; 8],
    pub(crate) places: [SharedTexts; 3],
    pub(crate) acquisitions: [SharedTexts; 9],
    verdicts: Texts,
    drop_reasons: Texts,
    stored_drop_reasons: Texts,
    properties: Properties,
}

/// A dictionary column whose values are shared bytes.
#[derive(Debug)]
pub(crate) struct SharedTexts {
    column: Texts,
    values: Vec<Bytes>,
}

#[derive(Debug)]
struct Properties {
    map: MapArray,
    /// Of all rows, one after the other; a value is none when it is null.
    pairs: Vec<(Bytes, Option<Bytes>)>,
}

impl EventRows {
    /// None when the batch is not of this table.
    pub(crate) fn of(batch: &RecordBatch) -> Option<Self> {
        let map = batch.column_by_name("props")?.as_map_opt()?;
        Some(Self {
            sites: u64s(batch, "site")?.clone(),
            stamps: primitive::<Int64Type>(batch, "stamp_ms")?.clone(),
            indexes: u64s(batch, "log_index")?.clone(),
            slices: u32s(batch, "slice")?.clone(),
            offsets: u32s(batch, "slice_offset")?.clone(),
            rule_versions: primitive::<UInt8Type>(batch, "rule_version")?.clone(),
            client_times: primitive::<Int64Type>(batch, "client_time_ms")?.clone(),
            ids: batch
                .column_by_name("event_id")?
                .as_fixed_size_binary_opt()?
                .clone(),
            visitors: u64s(batch, "visitor")?.clone(),
            visitors_previous: u64s(batch, "visitor_previous")?.clone(),
            flags: u32s(batch, "flags")?.clone(),
            scroll_depths: u32s(batch, "scroll_depth")?.clone(),
            engaged_ms: u32s(batch, "engaged_ms")?.clone(),
            revenues: primitive::<Int64Type>(batch, "revenue_micros")?.clone(),
            import_lines: u64s(batch, "import_line")?.clone(),
            names: SharedTexts::of(batch, "name")?,
            pages: SharedTexts::of(batch, "page")?,
            hostnames: SharedTexts::of(batch, "hostname")?,
            currencies: SharedTexts::of(batch, "currency")?,
            user_ids: SharedTexts::of(batch, "user_id")?,
            clients: shared(batch, CLIENT_COLUMNS)?,
            places: shared(batch, PLACE_COLUMNS)?,
            acquisitions: shared(batch, ACQUISITION_COLUMNS)?,
            verdicts: Texts::of(batch, "verdict")?,
            drop_reasons: Texts::of(batch, "drop_reason")?,
            stored_drop_reasons: Texts::of(batch, "stored_drop_reason")?,
            properties: Properties::of(map)?,
        })
    }

    pub(crate) fn len(&self) -> usize {
        self.sites.len()
    }

    /// The code of the verdict; none when its words are not ours.
    pub(crate) fn code(&self, row: usize) -> Option<u8> {
        verdict::from_words(self.verdicts.get(row)?, self.drop_reasons.get(row))
    }

    /// The code of the reason for which the pipeline dropped the event, 0 for none; none when the word is not ours.
    pub(crate) fn stored_drop(&self, row: usize) -> Option<u32> {
        match self.stored_drop_reasons.get(row) {
            None => Some(0),
            Some(word) => verdict::reason_code(word),
        }
    }

    /// Keys and values; a value is none when key or value pointed nowhere.
    pub(crate) fn properties(
        &self,
        row: usize,
    ) -> impl Iterator<Item = (Bytes, Option<Bytes>)> + '_ {
        let Properties { map, pairs } = &self.properties;
        let offsets = map.value_offsets();
        let end = |row: usize| offsets.get(row).map_or(0, |offset| *offset as usize);
        let of_row = pairs.get(end(row)..end(row + 1)).unwrap_or_default();
        of_row.iter().cloned()
    }
}

impl Properties {
    fn of(map: &MapArray) -> Option<Self> {
        let keys = map.keys().as_string_opt::<i32>()?;
        let values = map.values().as_string_opt::<i32>()?;
        let pairs = shared_texts(keys)
            .zip(shared_texts(values))
            .enumerate()
            .map(|(pair, (key, value))| (key, values.is_valid(pair).then_some(value)))
            .collect();
        Some(Self {
            map: map.clone(),
            pairs,
        })
    }
}

impl SharedTexts {
    fn of(batch: &RecordBatch, name: &str) -> Option<Self> {
        let column = Texts::of(batch, name)?;
        let values = shared_texts(column.values()).collect();
        Some(Self { column, values })
    }

    /// The row's position among the values; `u32::MAX` when it is null.
    pub(crate) fn key(&self, row: usize) -> u32 {
        self.column.key(row).map_or(u32::MAX, |key| key as u32)
    }

    pub(crate) fn get(&self, row: usize) -> Option<&Bytes> {
        self.values.get(self.column.key(row)?)
    }

    /// The row's text; empty when it is null.
    pub(crate) fn text(&self, row: usize) -> Bytes {
        self.get(row).cloned().unwrap_or_default()
    }
}

fn shared<const N: usize>(batch: &RecordBatch, names: [&str; N]) -> Option<[SharedTexts; N]> {
    let columns: Option<Vec<SharedTexts>> = names
        .iter()
        .map(|name| SharedTexts::of(batch, name))
        .collect();
    columns?.try_into().ok()
}

/// The value of a row, or 0 when it is null.
pub(crate) fn or_zero<T: arrow_array::ArrowPrimitiveType>(
    array: &arrow_array::PrimitiveArray<T>,
    row: usize,
) -> T::Native {
    at(array, row).unwrap_or_default()
}

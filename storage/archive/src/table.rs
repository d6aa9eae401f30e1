//! The tables: their columns, their names, and the key that their rows are sorted by.

use std::{fmt, sync::Arc};

use arrow_array::{Array, RecordBatch, UInt32Array};
use arrow_schema::{DataType, Field, Fields, Schema, SchemaRef};
use ringtail_proto::stored::ArchiveTable;

use crate::event::columns::{primitive, u32s, u64s};

/// The version of the layout of objects and of the archive's folders.
pub const FORMAT: u32 = 1;

/// What an object holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Table {
    /// Stored events with their verdicts.
    Events,
    /// Parts of visits; rows of the same site, generation and hour with the highest index stand for the hour.
    Visits,
    /// Commands of sites, and slices of which events alone do not tell everything.
    Changes,
}

/// Site, time, log index, slice (of visits: generation), place in the slice.
pub(crate) type SortKey = (u64, i64, u64, u32, u32);

impl Table {
    /// Every table.
    pub const ALL: [Self; 3] = [Self::Events, Self::Visits, Self::Changes];

    /// The name in paths.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Events => "events",
            Self::Visits => "visits",
            Self::Changes => "changes",
        }
    }

    /// The table with this name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|table| table.name() == name)
    }

    /// How a log entry names it.
    #[must_use]
    pub const fn to_stored(self) -> ArchiveTable {
        match self {
            Self::Events => ArchiveTable::Events,
            Self::Visits => ArchiveTable::Visits,
            Self::Changes => ArchiveTable::Changes,
        }
    }

    /// From a log entry; none when a newer version wrote it.
    #[must_use]
    pub fn from_stored(table: i32) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|known| known.to_stored() as i32 == table)
    }

    /// The columns, in their order. Texts are dictionaries in memory only: in the files they are plain UTF-8 columns.
    #[must_use]
    pub fn schema(self) -> SchemaRef {
        let fields = match self {
            Self::Events => event_fields(),
            Self::Visits => visit_fields(),
            Self::Changes => change_fields(),
        };
        Arc::new(Schema::new(fields))
    }

    /// The column by which rows of a site are sorted first.
    pub(crate) const fn time_column(self) -> &'static str {
        match self {
            Self::Events => "time_ms",
            Self::Visits => "hour_ms",
            Self::Changes => "stamp_ms",
        }
    }

    /// The columns by which readers find what they want.
    pub(crate) const fn key_columns(self) -> [&'static str; 3] {
        ["site", self.time_column(), "log_index"]
    }

    /// The keys of a batch's rows; none when it is not of this table.
    pub(crate) fn keys(self, batch: &RecordBatch) -> Option<Vec<SortKey>> {
        let sites = u64s(batch, "site")?;
        let times = primitive::<arrow_array::types::Int64Type>(batch, self.time_column())?;
        let indexes = u64s(batch, "log_index")?;
        let none = UInt32Array::new_null(batch.num_rows());
        let (slices, offsets) = match self {
            Self::Events => (u32s(batch, "slice")?, u32s(batch, "slice_offset")?),
            Self::Changes => (u32s(batch, "slice")?, &none),
            Self::Visits => (u32s(batch, "generation")?, &none),
        };
        let or_zero = |array: &UInt32Array, row| match array.is_null(row) {
            true => 0,
            false => array.value(row),
        };
        Some(
            (0..batch.num_rows())
                .map(|row| {
                    (
                        sites.value(row),
                        times.value(row),
                        indexes.value(row),
                        or_zero(slices, row),
                        or_zero(offsets, row),
                    )
                })
                .collect(),
        )
    }
}

impl fmt::Display for Table {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

/// A text column in memory.
pub(crate) fn text_type() -> DataType {
    DataType::Dictionary(Box::new(DataType::Int32), Box::new(DataType::Utf8))
}

pub(crate) const CLIENT_COLUMNS: [&str; 8] = [
    "browser",
    "browser_version",
    "os",
    "os_version",
    "device",
    "screen",
    "language",
    "raw_user_agent",
];
pub(crate) const PLACE_COLUMNS: [&str; 3] = ["country", "region", "city"];
pub(crate) const ACQUISITION_COLUMNS: [&str; 9] = [
    "referrer",
    "source",
    "channel",
    "utm_source",
    "utm_medium",
    "utm_campaign",
    "utm_content",
    "utm_term",
    "raw_referrer",
];

fn required(name: &str, kind: DataType) -> Field {
    Field::new(name, kind, false)
}

fn optional(name: &str, kind: DataType) -> Field {
    Field::new(name, kind, true)
}

/// Text columns that may be null.
fn texts<'a>(names: &'a [&'a str]) -> impl Iterator<Item = Field> + 'a {
    names.iter().map(|name| optional(name, text_type()))
}

/// The type of the column `props`: keys to values, in the order in which the event has them.
pub(crate) fn properties_type() -> DataType {
    let entry = Fields::from(vec![
        required("key", DataType::Utf8),
        optional("value", DataType::Utf8),
    ]);
    let entries = required("key_value", DataType::Struct(entry));
    DataType::Map(Arc::new(entries), false)
}

fn event_fields() -> Vec<Field> {
    let mut fields = vec![
        required("site", DataType::UInt64),
        required("time_ms", DataType::Int64),
        optional("client_time_ms", DataType::Int64),
        required("stamp_ms", DataType::Int64),
        required("log_index", DataType::UInt64),
        required("slice", DataType::UInt32),
        required("slice_offset", DataType::UInt32),
        required("verdict", text_type()),
        optional("drop_reason", text_type()),
        optional("stored_drop_reason", text_type()),
        required("rule_version", DataType::UInt8),
        required("event_id", DataType::FixedSizeBinary(16)),
        required("visitor", DataType::UInt64),
        optional("visitor_previous", DataType::UInt64),
        optional("name", text_type()),
        optional("page", text_type()),
        optional("hostname", text_type()),
    ];
    fields.extend(texts(&CLIENT_COLUMNS));
    fields.extend(texts(&PLACE_COLUMNS));
    fields.extend(texts(&ACQUISITION_COLUMNS));
    fields.extend([
        required("interactive", DataType::Boolean),
        required("flags", DataType::UInt32),
        optional("scroll_depth", DataType::UInt32),
        required("engaged_ms", DataType::UInt32),
        optional("revenue_micros", DataType::Int64),
        optional("currency", text_type()),
        optional("user_id", text_type()),
        required("props", properties_type()),
        optional("import_source", text_type()),
        optional("import_line", DataType::UInt64),
    ]);
    fields
}

fn change_fields() -> Vec<Field> {
    vec![
        required("site", DataType::UInt64),
        required("stamp_ms", DataType::Int64),
        required("log_index", DataType::UInt64),
        optional("slice", DataType::UInt32),
        required("rule_version", DataType::UInt8),
        required("kind", text_type()),
        required("value", DataType::Binary),
    ]
}

/// The texts of a visit, in the order of their columns.
pub(crate) const VISIT_TEXTS: [&str; 20] = [
    "entry_page",
    "exit_page",
    "referrer",
    "source",
    "channel",
    "utm_source",
    "utm_medium",
    "utm_campaign",
    "utm_content",
    "utm_term",
    "country",
    "region",
    "city",
    "browser",
    "browser_version",
    "os",
    "os_version",
    "device",
    "screen",
    "language",
];

fn visit_fields() -> Vec<Field> {
    let mut fields = vec![
        required("site", DataType::UInt64),
        required("hour_ms", DataType::Int64),
        required("log_index", DataType::UInt64),
        required("generation", DataType::UInt32),
        optional("visitor", DataType::UInt64),
        optional("first_ms", DataType::Int64),
        optional("last_ms", DataType::Int64),
        optional("events", DataType::UInt32),
        optional("pageviews", DataType::UInt32),
        optional("engaged_ms", DataType::UInt64),
    ];
    fields.extend(texts(&VISIT_TEXTS));
    fields.extend([
        optional("visit_events", DataType::UInt32),
        optional("visit_pageviews", DataType::UInt32),
        optional("visit_duration_ms", DataType::UInt64),
        optional("is_bounce", DataType::Boolean),
        optional("is_engaged", DataType::Boolean),
    ]);
    fields
}

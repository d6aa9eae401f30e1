//! Rows to the bytes of one object.

use arrow_array::RecordBatch;
use bytes::Bytes;
use jiff::civil::Date;
use parquet::{
    arrow::arrow_writer::{ArrowWriter, ArrowWriterOptions},
    basic::{Compression, Encoding, ZstdLevel},
    file::{
        metadata::{KeyValue, SortingColumn},
        properties::{EnabledStatistics, WriterProperties},
    },
    schema::types::ColumnPath,
};
use ringtail_proto::{GroupId, LogIndex, stored::ArchiveObject};

use crate::{
    error::ArchiveError,
    object_path::ObjectPath,
    table::{FORMAT, SortKey, Table},
};

/// Rows of a row group: a reader unpacks at least one column of one page, and keeps at most one group in memory.
pub(crate) const ROW_GROUP_ROWS_MAX: usize = 128 << 10;
/// Rows of a page: what a reader that wants one small site unpacks for nothing.
pub(crate) const PAGE_ROWS_MAX: usize = 8 << 10;
const COMPRESSION_LEVEL: i32 = 3;
const BLOOM_FALSE_POSITIVES: f64 = 0.02;
/// The key of the footer's entry that holds the format.
pub(crate) const FORMAT_KEY: &str = "ringtail.format";
/// The key of the footer's entry that holds the table.
pub(crate) const TABLE_KEY: &str = "ringtail.table";
/// Columns by which readers skip pages.
const PAGE_STATISTICS: [&str; 7] = [
    "site",
    "time_ms",
    "hour_ms",
    "stamp_ms",
    "log_index",
    "visitor",
    "name",
];
/// Columns that grow from row to row or nearly so: their differences are small.
const DELTAS: [&str; 8] = [
    "time_ms",
    "client_time_ms",
    "stamp_ms",
    "log_index",
    "slice_offset",
    "first_ms",
    "last_ms",
    "import_line",
];

/// An object and its bytes, not yet stored.
#[derive(Clone, Debug, PartialEq)]
pub struct BuiltObject {
    /// What the manifest says of it.
    pub object: ArchiveObject,
    /// The bytes.
    pub bytes: Bytes,
}

impl BuiltObject {
    /// The same as prepared by the leader of a term, which its path tells; without this it is of term 0.
    #[must_use]
    pub fn of_term(mut self, term: u64) -> Self {
        let path = std::str::from_utf8(&self.object.path).ok();
        if let Some(path) = path.and_then(ObjectPath::parse) {
            self.object.path = ObjectPath { term, ..path }.to_string().into();
        }
        self
    }
}

/// Writes sorted rows; equal rows in equal pieces have equal bytes.
pub(crate) struct ObjectWriter {
    table: Table,
    group: GroupId,
    received: Date,
    parquet: ArrowWriter<Vec<u8>>,
    span: Option<Span>,
    rows: u64,
}

/// What the rows so far span, and the last one.
#[derive(Clone, Copy)]
struct Span {
    indexes: (u64, u64),
    times: (i64, i64),
    first_site: u64,
    last: SortKey,
}

impl ObjectWriter {
    pub(crate) fn new(table: Table, group: GroupId, received: Date) -> Result<Self, ArchiveError> {
        // Text columns are dictionaries only in memory: no reader has to know.
        let options = ArrowWriterOptions::new()
            .with_properties(properties(table)?)
            .with_skip_arrow_metadata(true);
        let parquet = ArrowWriter::try_new_with_options(Vec::new(), table.schema(), options)
            .map_err(ArchiveError::encode)?;
        Ok(Self {
            table,
            group,
            received,
            parquet,
            span: None,
            rows: 0,
        })
    }

    /// Adds rows that come after all rows so far.
    pub(crate) fn write(&mut self, batch: &RecordBatch) -> Result<(), ArchiveError> {
        let keys = self.table.keys(batch).ok_or_else(|| ArchiveError::Encode {
            message: format!("rows are not of table {}", self.table),
        })?;
        for key in keys {
            self.note(key)?;
        }
        self.rows += batch.num_rows() as u64;
        self.parquet.write(batch).map_err(ArchiveError::encode)
    }

    fn note(&mut self, key: SortKey) -> Result<(), ArchiveError> {
        let (site, time, index, ..) = key;
        let span = self.span.get_or_insert(Span {
            indexes: (index, index),
            times: (time, time),
            first_site: site,
            last: key,
        });
        if key < span.last {
            return Err(ArchiveError::Encode {
                message: format!("row {key:?} comes after {:?}", span.last),
            });
        }
        span.last = key;
        span.indexes = (span.indexes.0.min(index), span.indexes.1.max(index));
        span.times = (span.times.0.min(time), span.times.1.max(time));
        Ok(())
    }

    /// The object; none without rows.
    pub(crate) fn finish(self) -> Result<Option<BuiltObject>, ArchiveError> {
        let Some(span) = self.span else {
            return Ok(None);
        };
        let bytes = self.parquet.into_inner().map_err(ArchiveError::encode)?;
        let hash = blake3::hash(&bytes);
        let mut short_hash = [0; 8];
        for (to, from) in short_hash.iter_mut().zip(hash.as_bytes()) {
            *to = *from;
        }
        let path = ObjectPath {
            table: self.table,
            group: self.group,
            received: self.received,
            first: LogIndex(span.indexes.0),
            last: LogIndex(span.indexes.1),
            term: 0,
            hash: short_hash,
        };
        let object = ArchiveObject {
            path: path.to_string().into(),
            hash: Bytes::copy_from_slice(hash.as_bytes()),
            bytes: bytes.len() as u64,
            rows: self.rows,
            table: self.table.to_stored() as i32,
            first_index: span.indexes.0,
            last_index: span.indexes.1,
            first_ms: span.times.0,
            last_ms: span.times.1,
            first_site: span.first_site,
            last_site: span.last.0,
        };
        Ok(Some(BuiltObject {
            object,
            bytes: bytes.into(),
        }))
    }
}

fn properties(table: Table) -> Result<WriterProperties, ArchiveError> {
    let level = ZstdLevel::try_new(COMPRESSION_LEVEL).map_err(ArchiveError::encode)?;
    let schema = table.schema();
    let sorting = table
        .key_columns()
        .iter()
        .filter_map(|name| schema.index_of(name).ok())
        .map(|position| SortingColumn {
            column_idx: position as i32,
            descending: false,
            nulls_first: false,
        })
        .collect();
    let mut properties = WriterProperties::builder()
        .set_created_by("ringtail".to_owned())
        .set_key_value_metadata(Some(vec![
            KeyValue::new(FORMAT_KEY.to_owned(), FORMAT.to_string()),
            KeyValue::new(TABLE_KEY.to_owned(), table.name().to_owned()),
        ]))
        .set_compression(Compression::ZSTD(level))
        .set_max_row_group_row_count(Some(ROW_GROUP_ROWS_MAX))
        .set_data_page_row_count_limit(PAGE_ROWS_MAX)
        .set_statistics_enabled(EnabledStatistics::Chunk)
        .set_sorting_columns(Some(sorting));
    for field in schema.fields() {
        let name = field.name().as_str();
        let path = ColumnPath::from(name);
        if PAGE_STATISTICS.contains(&name) {
            properties =
                properties.set_column_statistics_enabled(path.clone(), EnabledStatistics::Page);
        }
        if DELTAS.contains(&name) {
            properties = properties
                .set_column_dictionary_enabled(path.clone(), false)
                .set_column_encoding(path.clone(), Encoding::DELTA_BINARY_PACKED);
        }
        // Ids are random: neither a dictionary nor their span says anything.
        if name == "event_id" {
            properties = properties
                .set_column_dictionary_enabled(path.clone(), false)
                .set_column_statistics_enabled(path.clone(), EnabledStatistics::None);
        }
        if name == "visitor" {
            properties = properties
                .set_column_bloom_filter_fpp(path.clone(), BLOOM_FALSE_POSITIVES)
                .set_column_bloom_filter_max_ndv(path, ROW_GROUP_ROWS_MAX as u64);
        }
    }
    Ok(properties.build())
}

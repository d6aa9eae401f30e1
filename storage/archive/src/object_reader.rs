//! The bytes of one object to the rows that are wanted: row groups and pages without any are not unpacked.

use std::ops::Range;

use arrow_array::{BooleanArray, RecordBatch};
use bytes::Bytes;
use parquet::{
    arrow::{
        ProjectionMask,
        arrow_reader::{
            ArrowPredicateFn, ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReader,
            ParquetRecordBatchReaderBuilder, RowFilter, RowSelection,
        },
    },
    file::{
        metadata::{PageIndexPolicy, ParquetMetaData, RowGroupMetaData},
        page_index::column_index::ColumnIndexMetaData,
        statistics::Statistics,
    },
};

use crate::{
    error::ArchiveError,
    object_writer::{FORMAT_KEY, TABLE_KEY},
    selection::Selection,
    table::{FORMAT, SortKey, Table},
};

/// Rows that are unpacked at a time.
const BATCH_ROWS_MAX: usize = 8 << 10;

/// An object whose footer was read and is what this version writes.
pub(crate) struct ObjectReader {
    path: String,
    table: Table,
    bytes: Bytes,
    metadata: ArrowReaderMetadata,
}

impl ObjectReader {
    /// Reads the footer.
    pub(crate) fn open(path: &str, table: Table, bytes: Bytes) -> Result<Self, ArchiveError> {
        let options = ArrowReaderOptions::new()
            .with_schema(table.schema())
            .with_page_index_policy(PageIndexPolicy::Required);
        let damaged = |error| ArchiveError::damaged(path, error);
        let plain = ArrowReaderMetadata::load(&bytes, ArrowReaderOptions::new());
        check_marks(path, table, plain.map_err(damaged)?.metadata())?;
        let metadata = ArrowReaderMetadata::load(&bytes, options).map_err(damaged)?;
        Ok(Self {
            path: path.to_owned(),
            table,
            bytes,
            metadata,
        })
    }

    pub(crate) const fn table(&self) -> Table {
        self.table
    }

    pub(crate) fn metadata(&self) -> &ParquetMetaData {
        self.metadata.metadata()
    }

    /// All rows, in their order.
    pub(crate) fn all(&self, batch_rows_max: usize) -> Result<Batches, ArchiveError> {
        let reader = self.builder().with_batch_size(batch_rows_max).build();
        self.batches(reader.map_err(|error| ArchiveError::damaged(&self.path, error))?)
    }

    /// All rows of one row group, in their order.
    pub(crate) fn group(&self, group: usize) -> Result<Batches, ArchiveError> {
        let reader = self
            .builder()
            .with_batch_size(BATCH_ROWS_MAX)
            .with_row_groups(vec![group])
            .build();
        self.batches(reader.map_err(|error| ArchiveError::damaged(&self.path, error))?)
    }

    /// The keys of all rows, in their order.
    pub(crate) fn keys(&self) -> Result<Vec<SortKey>, ArchiveError> {
        let schema = self.metadata().file_metadata().schema_descr();
        let columns = ["slice", "slice_offset", "generation"]
            .into_iter()
            .chain(self.key_columns());
        let mask = ProjectionMask::columns(schema, columns);
        let reader = self.builder().with_projection(mask).build();
        let reader = reader.map_err(|error| ArchiveError::damaged(&self.path, error))?;
        let mut keys = Vec::new();
        for batch in self.batches(reader)? {
            keys.extend(self.keys_of(&batch?)?);
        }
        Ok(keys)
    }

    /// The keys of the rows of a batch.
    pub(crate) fn keys_of(&self, batch: &RecordBatch) -> Result<Vec<SortKey>, ArchiveError> {
        let keys = self.table.keys(batch);
        keys.ok_or_else(|| ArchiveError::damaged(&self.path, "key columns are missing"))
    }

    /// What the footer says of a key column of a row group, as (lowest, highest) of its bits.
    pub(crate) fn bounds(&self, group: &RowGroupMetaData, name: &str) -> Option<(i64, i64)> {
        let column = group.columns().get(self.column(name)?)?;
        match column.statistics()? {
            Statistics::Int64(span) => Some((*span.min_opt()?, *span.max_opt()?)),
            _ => None,
        }
    }

    const fn key_columns(&self) -> [&'static str; 3] {
        ["site", self.table.time_column(), "log_index"]
    }

    /// The wanted rows, in their order.
    pub(crate) fn select(&self, selection: &Selection) -> Result<Batches, ArchiveError> {
        let groups: Vec<usize> = self
            .metadata()
            .row_groups()
            .iter()
            .enumerate()
            .filter(|(_, group)| self.may_hold(group, selection))
            .map(|(position, _)| position)
            .collect();
        let pages = self.pages(&groups, selection);
        let schema = self.metadata().file_metadata().schema_descr();
        let mask = ProjectionMask::columns(schema, self.key_columns());
        let (table, wanted) = (self.table, selection.clone());
        let predicate =
            ArrowPredicateFn::new(mask, move |batch| Ok(wanted_rows(table, &wanted, &batch)));
        let reader = self
            .builder()
            .with_batch_size(BATCH_ROWS_MAX)
            .with_row_groups(groups)
            .with_row_selection(pages)
            .with_row_filter(RowFilter::new(vec![Box::new(predicate)]))
            .build()
            .map_err(|error| ArchiveError::damaged(&self.path, error))?;
        self.batches(reader)
    }

    fn builder(&self) -> ParquetRecordBatchReaderBuilder<Bytes> {
        ParquetRecordBatchReaderBuilder::new_with_metadata(
            self.bytes.clone(),
            self.metadata.clone(),
        )
    }

    fn batches(&self, reader: ParquetRecordBatchReader) -> Result<Batches, ArchiveError> {
        Ok(Batches {
            path: self.path.clone(),
            reader,
        })
    }

    fn column(&self, name: &str) -> Option<usize> {
        let schema = self.metadata().file_metadata().schema_descr();
        schema
            .columns()
            .iter()
            .position(|column| column.path().string() == name)
    }

    fn may_hold(&self, group: &RowGroupMetaData, selection: &Selection) -> bool {
        is_possible(|name| self.bounds(group, name), self.table, selection)
    }

    /// Rows of pages that may hold wanted ones, counted over the given row groups.
    fn pages(&self, groups: &[usize], selection: &Selection) -> RowSelection {
        let mut ranges: Vec<Range<usize>> = Vec::new();
        let mut rows_before = 0;
        for group in groups {
            let rows = self
                .metadata()
                .row_groups()
                .get(*group)
                .map_or(0, |group| group.num_rows() as usize);
            // Pages of different columns begin at different rows, so each column narrows the rows by itself.
            let all = 0..rows;
            let mut wanted = vec![all];
            for name in self.key_columns() {
                let pages = self.wanted_pages(*group, rows, name, selection);
                wanted = match pages {
                    None => wanted,
                    Some(pages) => both(&wanted, &pages),
                };
            }
            ranges.extend(
                wanted
                    .into_iter()
                    .map(|range| range.start + rows_before..range.end + rows_before),
            );
            rows_before += rows;
        }
        RowSelection::from_consecutive_ranges(ranges.into_iter(), rows_before)
    }

    /// Ranges of rows of the pages of one column that may hold wanted rows; none when nothing is known.
    fn wanted_pages(
        &self,
        group: usize,
        rows: usize,
        name: &str,
        selection: &Selection,
    ) -> Option<Vec<Range<usize>>> {
        let column = self.column(name)?;
        let bounds = self.metadata().column_index()?.get(group)?.get(column)?;
        let ColumnIndexMetaData::INT64(bounds) = bounds else {
            return None;
        };
        let places = self.metadata().offset_index()?.get(group)?.get(column)?;
        let starts: Vec<usize> = places
            .page_locations()
            .iter()
            .map(|page| page.first_row_index as usize)
            .collect();
        let ends = starts.iter().skip(1).copied().chain([rows]);
        let mut ranges = Vec::new();
        for (page, (start, end)) in starts.iter().zip(ends).enumerate() {
            let of_page = |asked: &str| match asked == name {
                true => Some((*bounds.min_value(page)?, *bounds.max_value(page)?)),
                false => None,
            };
            if is_possible(of_page, self.table, selection) {
                ranges.push(*start..end);
            }
        }
        Some(ranges)
    }
}

/// Batches of rows.
pub(crate) struct Batches {
    path: String,
    reader: ParquetRecordBatchReader,
}

impl Iterator for Batches {
    type Item = Result<RecordBatch, ArchiveError>;

    fn next(&mut self) -> Option<Self::Item> {
        let batch = self.reader.next()?;
        Some(batch.map_err(|error| ArchiveError::damaged(&self.path, error)))
    }
}

/// False when the bounds of the key columns say that no row is wanted; unknown bounds say nothing.
fn is_possible(
    bounds: impl Fn(&str) -> Option<(i64, i64)>,
    table: Table,
    selection: &Selection,
) -> bool {
    // Parquet keeps unsigned numbers as signed ones of the same bits.
    let unsigned = |name| bounds(name).map(|(low, high)| (low as u64, high as u64));
    unsigned("site").is_none_or(|(low, high)| selection.may_hold_sites(low, high))
        && unsigned("log_index").is_none_or(|(low, high)| selection.may_hold_indexes(low, high))
        && bounds(table.time_column()).is_none_or(|(low, high)| selection.may_hold_times(low, high))
}

fn wanted_rows(table: Table, selection: &Selection, batch: &RecordBatch) -> BooleanArray {
    use crate::event::columns::{primitive, u64s};
    let columns = (|| {
        let times = primitive::<arrow_array::types::Int64Type>(batch, table.time_column())?;
        Some((u64s(batch, "site")?, times, u64s(batch, "log_index")?))
    })();
    // Without the key columns nothing is known to be wanted; the reader was opened with a schema that has them.
    let Some((sites, times, indexes)) = columns else {
        return BooleanArray::from(vec![false; batch.num_rows()]);
    };
    (0..batch.num_rows())
        .map(|row| Some(selection.holds(sites.value(row), times.value(row), indexes.value(row))))
        .collect()
}

/// The rows in both lists of ranges; each is in order.
fn both(one: &[Range<usize>], other: &[Range<usize>]) -> Vec<Range<usize>> {
    let mut common = Vec::new();
    let (mut ones, mut others) = (one.iter().peekable(), other.iter().peekable());
    while let (Some(left), Some(right)) = (ones.peek(), others.peek()) {
        let range = left.start.max(right.start)..left.end.min(right.end);
        if !range.is_empty() {
            common.push(range);
        }
        match left.end <= right.end {
            true => ones.next(),
            false => others.next(),
        };
    }
    common
}

fn check_marks(path: &str, table: Table, metadata: &ParquetMetaData) -> Result<(), ArchiveError> {
    let marks = metadata.file_metadata().key_value_metadata();
    let mark = |key: &str| marks?.iter().find(|mark| mark.key == key)?.value.as_deref();
    let format: Option<u32> = mark(FORMAT_KEY).and_then(|format| format.parse().ok());
    match format {
        None => Err(ArchiveError::damaged(path, "it is not one of our files")),
        Some(found) if found > FORMAT => Err(ArchiveError::Newer {
            path: path.to_owned(),
            found,
            known: FORMAT,
        }),
        Some(_) if mark(TABLE_KEY) != Some(table.name()) => Err(ArchiveError::damaged(
            path,
            format!("it is not of table {table}"),
        )),
        Some(_) => Ok(()),
    }
}

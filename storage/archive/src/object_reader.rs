//! The bytes of one object to the rows that are wanted: row groups and pages without any are not unpacked.

use std::sync::Arc;

use arrow_array::{BooleanArray, RecordBatch};
use bytes::Bytes;
use parquet::{
    arrow::{
        ProjectionMask,
        arrow_reader::{
            ArrowPredicateFn, ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReader,
            ParquetRecordBatchReaderBuilder, RowFilter,
        },
    },
    file::metadata::{PageIndexPolicy, ParquetMetaData, ParquetMetaDataReader},
};

use crate::{
    error::ArchiveError,
    object_writer::{FORMAT_KEY, TABLE_KEY},
    pruning::Pruning,
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
        let damaged = |error| ArchiveError::damaged(path, error);
        let footer = ParquetMetaDataReader::new()
            .with_page_index_policy(PageIndexPolicy::Required)
            .parse_and_finish(&bytes)
            .map_err(damaged)?;
        check_marks(path, table, &footer)?;
        let options = ArrowReaderOptions::new().with_schema(table.schema());
        let metadata = ArrowReaderMetadata::try_new(Arc::new(footer), options).map_err(damaged)?;
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
            .chain(self.table.key_columns());
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

    /// The wanted rows, in their order.
    pub(crate) fn select(&self, selection: &Selection) -> Result<Batches, ArchiveError> {
        let pruning = Pruning {
            metadata: self.metadata(),
            table: self.table,
            selection,
        };
        let groups = pruning.row_groups();
        let pages = pruning.pages(&groups);
        let schema = self.metadata().file_metadata().schema_descr();
        let mask = ProjectionMask::columns(schema, self.table.key_columns());
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

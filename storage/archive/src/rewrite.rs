//! An object without some of its rows: for retention, for erasure, for deleted sites.

use arrow_array::{
    BooleanArray, Int64Array, RecordBatch, UInt32Array, UInt64Array, types::Int64Type,
};
use arrow_select::filter::filter_record_batch;
use bytes::Bytes;
use ringtail_proto::{Generation, LogIndex, SiteId, UnixMillis, VisitorId, stored::ArchiveObject};

use crate::{
    archive::path_of,
    error::ArchiveError,
    event::columns::{Texts, at, primitive, u32s, u64s},
    object_path::ObjectPath,
    object_reader::ObjectReader,
    object_writer::{BuiltObject, ObjectWriter},
    table::Table,
};

/// Rows that are unpacked at a time.
const BATCH_ROWS_MAX: usize = 32 << 10;

/// What decides whether a row stays.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RowView<'a> {
    /// The row's table.
    pub table: Table,
    /// Whose it is.
    pub site: SiteId,
    /// When the event counted, the visit's hour began, or the command was stamped.
    pub time: UnixMillis,
    /// Its entry.
    pub index: LogIndex,
    /// Who; none in the table of changes and for an hour without visits.
    pub visitor: Option<VisitorId>,
    /// The same visitor under the salt of the day before.
    pub visitor_previous: Option<VisitorId>,
    /// The client's own id of a known user.
    pub user_id: Option<&'a str>,
    /// The rules under which a visit was found; none in other tables.
    pub generation: Option<Generation>,
}

/// What became of an object.
#[derive(Clone, Debug, PartialEq)]
pub enum Rewritten {
    /// Every row stays: the object is as good as before.
    Unchanged,
    /// No row stays: there is nothing to store.
    Empty {
        /// Rows that were there.
        removed: u64,
    },
    /// Some rows stay, in this object.
    Changed {
        /// What takes the place of the old object.
        built: BuiltObject,
        /// Rows that are gone.
        removed: u64,
    },
}

/// Keeps some rows of an object, in their order. It reads and compresses all of them: not for a thread that serves.
///
/// # Errors
/// When the object is damaged or of a newer version.
pub fn rewrite(
    object: &ArchiveObject,
    bytes: Bytes,
    keep: &dyn Fn(&RowView<'_>) -> bool,
) -> Result<Rewritten, ArchiveError> {
    let text = path_of(object)?;
    let path = ObjectPath::parse(text)
        .ok_or_else(|| ArchiveError::damaged(text, "its path is not one of ours"))?;
    let reader = ObjectReader::open(text, path.table, bytes)?;
    let mut writer = ObjectWriter::new(path.table, path.group, path.received)?;
    let (mut before, mut after) = (0, 0);
    for batch in reader.all(BATCH_ROWS_MAX)? {
        let batch = batch?;
        let columns = Columns::of(path.table, &batch)
            .ok_or_else(|| ArchiveError::damaged(text, "columns are missing"))?;
        let kept: BooleanArray = (0..batch.num_rows())
            .map(|row| Some(keep(&columns.view(path.table, row))))
            .collect();
        before += batch.num_rows() as u64;
        after += kept.true_count() as u64;
        let batch = filter_record_batch(&batch, &kept).map_err(ArchiveError::encode)?;
        if batch.num_rows() > 0 {
            writer.write(&batch)?;
        }
    }
    let removed = before - after;
    if removed == 0 {
        return Ok(Rewritten::Unchanged);
    }
    Ok(match writer.finish()? {
        None => Rewritten::Empty { removed },
        Some(built) => Rewritten::Changed { built, removed },
    })
}

struct Columns {
    sites: UInt64Array,
    times: Int64Array,
    indexes: UInt64Array,
    visitors: Option<UInt64Array>,
    visitors_previous: Option<UInt64Array>,
    user_ids: Option<Texts>,
    generations: Option<UInt32Array>,
}

impl Columns {
    fn of(table: Table, batch: &RecordBatch) -> Option<Self> {
        Some(Self {
            sites: u64s(batch, "site")?.clone(),
            times: primitive::<Int64Type>(batch, table.time_column())?.clone(),
            indexes: u64s(batch, "log_index")?.clone(),
            visitors: u64s(batch, "visitor").cloned(),
            visitors_previous: u64s(batch, "visitor_previous").cloned(),
            user_ids: Texts::of(batch, "user_id"),
            generations: u32s(batch, "generation").cloned(),
        })
    }

    fn view(&self, table: Table, row: usize) -> RowView<'_> {
        let visitor = |column: &Option<UInt64Array>| {
            let column = column.as_ref()?;
            at(column, row).map(VisitorId)
        };
        RowView {
            table,
            site: SiteId(self.sites.value(row)),
            time: UnixMillis(self.times.value(row)),
            index: LogIndex(self.indexes.value(row)),
            visitor: visitor(&self.visitors),
            visitor_previous: visitor(&self.visitors_previous),
            user_id: self.user_ids.as_ref().and_then(|users| users.get(row)),
            generation: self
                .generations
                .as_ref()
                .map(|generations| Generation(generations.value(row))),
        }
    }
}

//! Is an object what the manifest says, down to its last row?

use std::fmt;

use bytes::Bytes;
use ringtail_proto::stored::ArchiveObject;

use crate::{
    archive::{Archive, path_of},
    error::ArchiveError,
    object_path::ObjectPath,
    object_reader::ObjectReader,
    pruning::bounds,
    table::{SortKey, Table},
};

/// An object of which everything fits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verified {
    /// What its path says.
    pub path: ObjectPath,
    /// Its rows, all of them read and in order.
    pub rows: u64,
    /// Its size.
    pub bytes: u64,
    /// Its row groups, whose statistics are those of their rows.
    pub row_groups: usize,
}

impl fmt::Display for Verified {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            path,
            rows,
            bytes,
            row_groups,
        } = self;
        write!(
            formatter,
            "{path}: {rows} rows in {row_groups} row groups, {bytes} bytes, as its hash says"
        )
    }
}

/// Reads all of an object: size, hash, footer, every row, their order, and what statistics and manifest say of them.
///
/// # Errors
/// [`ArchiveError::Missing`], [`ArchiveError::Damaged`] with what does not fit, [`ArchiveError::Newer`], or when the
/// store stays unavailable.
pub async fn verify(archive: &Archive, object: &ArchiveObject) -> Result<Verified, ArchiveError> {
    let bytes = archive.get(object).await?;
    let asked = object.clone();
    let task = tokio::task::spawn_blocking(move || verify_bytes(&asked, bytes));
    match task.await {
        Ok(outcome) => outcome,
        Err(error) => Err(ArchiveError::damaged(path_of(object)?, error)),
    }
}

/// What rows say of themselves.
#[derive(Clone, Copy)]
struct Span {
    sites: (u64, u64),
    times: (i64, i64),
    indexes: (u64, u64),
}

impl Span {
    const fn of((site, time, index, ..): SortKey) -> Self {
        Self {
            sites: (site, site),
            times: (time, time),
            indexes: (index, index),
        }
    }

    fn with(self, other: Self) -> Self {
        fn both<T: Ord>(one: (T, T), other: (T, T)) -> (T, T) {
            (one.0.min(other.0), one.1.max(other.1))
        }
        Self {
            sites: both(self.sites, other.sites),
            times: both(self.times, other.times),
            indexes: both(self.indexes, other.indexes),
        }
    }
}

fn verify_bytes(object: &ArchiveObject, bytes: Bytes) -> Result<Verified, ArchiveError> {
    let text = path_of(object)?;
    let damaged = |what: &str| ArchiveError::damaged(text, what);
    let path = ObjectPath::parse(text).ok_or_else(|| damaged("its path is not one of ours"))?;
    if Table::from_stored(object.table) != Some(path.table)
        || (path.first.0, path.last.0) != (object.first_index, object.last_index)
        || !object.hash.starts_with(&path.hash)
    {
        return Err(damaged("its path says other things than the manifest"));
    }
    let reader = ObjectReader::open(text, path.table, bytes)?;
    let mut last: Option<SortKey> = None;
    let (mut rows, mut span) = (0, None);
    let row_groups = reader.metadata().row_groups();
    for position in 0..row_groups.len() {
        let group = verify_group(&reader, position, &mut last, &mut rows, text)?;
        span = Some(span.map_or(group, |span: Span| span.with(group)));
    }
    let span = span.ok_or_else(|| damaged("it has no rows"))?;
    let said = Span {
        sites: (object.first_site, object.last_site),
        times: (object.first_ms, object.last_ms),
        indexes: (object.first_index, object.last_index),
    };
    if rows != object.rows || !is_same(span, said) {
        return Err(damaged(
            "its rows span something else than the manifest says",
        ));
    }
    Ok(Verified {
        path,
        rows,
        bytes: object.bytes,
        row_groups: row_groups.len(),
    })
}

fn verify_group(
    reader: &ObjectReader,
    position: usize,
    last: &mut Option<SortKey>,
    rows: &mut u64,
    path: &str,
) -> Result<Span, ArchiveError> {
    let mut found: Option<Span> = None;
    for batch in reader.group(position)? {
        for key in reader.keys_of(&batch?)? {
            if last.is_some_and(|last| key < last) {
                let what = format!("row {rows} is out of order");
                return Err(ArchiveError::damaged(path, what));
            }
            *last = Some(key);
            *rows += 1;
            let row = Span::of(key);
            found = Some(found.map_or(row, |span| span.with(row)));
        }
    }
    let damaged = |what: &str| ArchiveError::damaged(path, format!("row group {position}: {what}"));
    let found = found.ok_or_else(|| damaged("it is empty"))?;
    match said_by_footer(reader, position) {
        Some(said) if is_same(found, said) => Ok(found),
        Some(_) => Err(damaged("its statistics are not those of its rows")),
        None => Err(damaged("its statistics are missing")),
    }
}

fn said_by_footer(reader: &ObjectReader, position: usize) -> Option<Span> {
    let group = reader.metadata().row_groups().get(position)?;
    let unsigned = |name| {
        let (low, high) = bounds(reader.metadata(), group, name)?;
        Some((low as u64, high as u64))
    };
    Some(Span {
        sites: unsigned("site")?,
        times: bounds(reader.metadata(), group, reader.table().time_column())?,
        indexes: unsigned("log_index")?,
    })
}

fn is_same(one: Span, other: Span) -> bool {
    (one.sites, one.times, one.indexes) == (other.sites, other.times, other.indexes)
}

//! The rows in which a site's state rests, and the seam through which pure code reads them.

use std::ops::ControlFlow;

use bytes::Bytes;

use crate::{HourStart, LogIndex};

/// Name of one row of a site's generation. The order of the variants and of their fields is the order in the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SiteRow {
    /// Index, settings, import marks, late list; the whole hot state when it is small.
    Site,
    /// One chunk of the hot state of a big site.
    Hot(u8),
    /// Visit rows and minutes of one local hour.
    Rows(HourStart),
    /// Folded cells of one local hour, all dimensions.
    Page(HourStart),
    /// Folded cells of one local day (by its UTC start) and one dimension (by its code).
    DayPage(HourStart, u32),
    /// Folded cells of one local month (by its UTC start) and one dimension (by its code).
    MonthPage(HourStart, u32),
    /// Ids of events first accepted in one UTC hour of stamps, as written by the checkpoint at an index.
    Ids(HourStart, LogIndex),
    /// The filter over all ids of one UTC hour of stamps.
    IdFilter(HourStart),
    /// What the batch that left the rows at this index did, for archive and mirror; the second number tells such
    /// batches apart.
    Notes(LogIndex, u32),
}

/// A change of one row: a new value, or none to remove it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RowWrite {
    /// The row.
    pub row: SiteRow,
    /// Its new value.
    pub value: Option<Bytes>,
}

/// Reads rows of one generation of a site as of one moment. Blocking, but short: an embedded store or a cache stands behind it.
pub trait RowReader: Send + Sync {
    /// The row's value.
    ///
    /// # Errors
    /// When the store cannot answer; never when the row is absent.
    fn get(&self, row: SiteRow) -> Result<Option<Bytes>, RowReadError>;

    /// Visits the rows `from..=to` in order until `visit` breaks.
    ///
    /// # Errors
    /// When the store cannot answer.
    fn range(
        &self,
        from: SiteRow,
        to: SiteRow,
        visit: &mut dyn FnMut(SiteRow, Bytes) -> ControlFlow<()>,
    ) -> Result<(), RowReadError>;

    /// The first row in `from..=to`; its value need not be at hand.
    ///
    /// # Errors
    /// When the store cannot answer.
    fn first(&self, from: SiteRow, to: SiteRow) -> Result<Option<SiteRow>, RowReadError> {
        let mut first = None;
        self.range(from, to, &mut |row, _| {
            first = Some(row);
            ControlFlow::Break(())
        })?;
        Ok(first)
    }
}

/// The store could not answer.
#[derive(Clone, Debug, thiserror::Error)]
#[error("the checkpoint store cannot be read: {message}")]
pub struct RowReadError {
    /// What the store said.
    pub message: String,
}

//! Rows that are looked up only when somebody asks.

use std::{ops::ControlFlow, sync::OnceLock};

use bytes::Bytes;
use ringtail_checkpoint::{GroupStore, SiteReader};
use ringtail_proto::{RowReadError, RowReader, SiteGeneration, SiteRow};

/// A site's rows as of the first look. Most entries need no row, and a snapshot costs more than applying an event.
pub(crate) struct LazyRows<'a> {
    rows: &'a dyn GroupStore,
    site: SiteGeneration,
    reader: OnceLock<SiteReader>,
}

impl<'a> LazyRows<'a> {
    pub(crate) const fn new(rows: &'a dyn GroupStore, site: SiteGeneration) -> Self {
        Self {
            rows,
            site,
            reader: OnceLock::new(),
        }
    }

    fn reader(&self) -> &SiteReader {
        self.reader
            .get_or_init(|| SiteReader::new(self.rows.snapshot(), self.site))
    }
}

impl RowReader for LazyRows<'_> {
    fn get(&self, row: SiteRow) -> Result<Option<Bytes>, RowReadError> {
        self.reader().get(row)
    }

    fn range(
        &self,
        from: SiteRow,
        to: SiteRow,
        visit: &mut dyn FnMut(SiteRow, Bytes) -> ControlFlow<()>,
    ) -> Result<(), RowReadError> {
        self.reader().range(from, to, visit)
    }
}

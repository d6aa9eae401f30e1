//! The selected rows of one object of events.

use ringtail_proto::{LogIndex, stored::SiteEvents};
use tokio::sync::OwnedSemaphorePermit;

use crate::{
    error::ArchiveError,
    event::{rows::EventRows, slice_builder::SliceBuilder},
    object_reader::ObjectReader,
    replay::EventSlice,
    seal::EntryHead,
    selection::Selection,
};

/// The selected rows of one object.
#[derive(Default)]
pub(crate) struct LoadedEvents {
    path: String,
    rows: Vec<EventRows>,
    /// In the order of the log, the next one last.
    order: Vec<Position>,
    builder: SliceBuilder,
    /// Held as long as the rows are.
    _turn: Option<OwnedSemaphorePermit>,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Position {
    index: u64,
    slice: u32,
    offset: u32,
    rows: u32,
    row: u32,
}

impl LoadedEvents {
    pub(crate) fn read(
        path: &str,
        reader: &ObjectReader,
        selection: &Selection,
        turn: Option<OwnedSemaphorePermit>,
    ) -> Result<Self, ArchiveError> {
        let mut loaded = Self {
            path: path.to_owned(),
            _turn: turn,
            ..Self::default()
        };
        for batch in reader.select(selection)? {
            let rows = EventRows::of(&batch?)
                .ok_or_else(|| ArchiveError::damaged(path, "columns are missing"))?;
            let number = loaded.rows.len() as u32;
            loaded.order.extend((0..rows.len()).map(|row| Position {
                index: rows.indexes.value(row),
                slice: rows.slices.value(row),
                offset: rows.offsets.value(row),
                rows: number,
                row: row as u32,
            }));
            loaded.rows.push(rows);
        }
        loaded.order.sort_unstable_by(|one, other| other.cmp(one));
        Ok(loaded)
    }

    /// True when no row is left.
    pub(crate) const fn is_used_up(&self) -> bool {
        self.order.is_empty()
    }

    /// Entry and slice of the next row.
    pub(crate) fn next(&self) -> Option<(u64, u32)> {
        self.order.last().map(|at| (at.index, at.slice))
    }

    /// The slice that comes next; its mark comes from the table of changes.
    pub(crate) fn next_slice(
        &mut self,
        mark: Option<SiteEvents>,
    ) -> Result<EventSlice, ArchiveError> {
        let broken = || ArchiveError::damaged(&self.path, "a row is not one of ours");
        let first = *self.order.last().ok_or_else(broken)?;
        let rows = self.rows.get(first.rows as usize).ok_or_else(broken)?;
        let (row, site) = (first.row as usize, rows.sites.value(first.row as usize));
        let entry = EntryHead {
            index: LogIndex(first.index),
            stamp: rows.stamps.value(row).into(),
            version: rows.rule_versions.value(row),
        };
        let builder = &mut self.builder;
        let (mut codes, mut offsets) = (Vec::new(), Vec::new());
        while let Some(at) = self.order.last()
            && (at.index, at.slice) == (first.index, first.slice)
        {
            let (number, row) = (at.rows as usize, at.row as usize);
            let rows = self.rows.get(number).ok_or_else(broken)?;
            builder.push(rows, number, row).ok_or_else(broken)?;
            codes.push(rows.code(row).ok_or_else(broken)?);
            offsets.push(at.offset);
            self.order.pop();
        }
        let next = self.order.last();
        Ok(EventSlice {
            entry,
            slice: first.slice,
            batch: builder.finish(site, mark),
            codes,
            offsets,
            ends_entry: next.is_none_or(|next| next.index != first.index),
        })
    }
}

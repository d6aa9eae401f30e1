//! What was sealed, entry by entry in the order of the log.

use std::{cmp::Ordering, collections::VecDeque, sync::Arc};

use bytes::Bytes;
use ringtail_proto::{
    LogIndex,
    stored::{ArchiveObject, EventBatch, SiteCommand, SiteEvents},
};

use crate::{
    archive::{Archive, path_of},
    change::{self, ChangeRow},
    error::ArchiveError,
    event::{rows::EventRows, slice_builder::SliceBuilder},
    object_reader::ObjectReader,
    seal::EntryHead,
    selection::Selection,
    table::Table,
};

/// What the log held.
#[derive(Clone, Debug, PartialEq)]
pub enum ReplayItem {
    /// Events of one site.
    Events(EventSlice),
    /// A command of one site.
    Command {
        /// Its entry.
        entry: EntryHead,
        /// As it stood in the log.
        command: SiteCommand,
    },
}

/// One site's slice of an entry.
#[derive(Clone, Debug, PartialEq)]
pub struct EventSlice {
    /// Its entry.
    pub entry: EntryHead,
    /// The position that the slice had in the entry's batch.
    pub slice: u32,
    /// A batch with this slice alone. Shared values stand in another order than in the log; a text may stand
    /// once for each column.
    pub batch: EventBatch,
    /// The verdict's code of each event.
    pub codes: Vec<u8>,
    /// The position of each event in the slice of the log: they have gaps where events were erased or not selected.
    pub offsets: Vec<u32>,
}

impl EventSlice {
    /// The slice itself.
    #[must_use]
    pub fn events(&self) -> Option<&SiteEvents> {
        self.batch.sites.first()
    }
}

impl ReplayItem {
    /// The entry that held it.
    #[must_use]
    pub const fn entry(&self) -> EntryHead {
        match self {
            Self::Events(slice) => slice.entry,
            Self::Command { entry, .. } => *entry,
        }
    }
}

/// Reads one object of each table at a time; of it, only the selected rows are kept in memory.
pub struct Replay {
    archive: Arc<Archive>,
    selection: Selection,
    event_objects: VecDeque<ArchiveObject>,
    change_objects: VecDeque<ArchiveObject>,
    events: LoadedEvents,
    changes: VecDeque<(EntryHead, ChangeRow)>,
}

/// The selected rows of one object.
#[derive(Default)]
struct LoadedEvents {
    path: String,
    rows: Vec<EventRows>,
    /// In the order of the log, the next one last.
    order: Vec<Position>,
    builder: SliceBuilder,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Position {
    index: u64,
    slice: u32,
    offset: u32,
    rows: u32,
    row: u32,
}

impl Replay {
    /// Replays the entries of objects of one group, as its manifest names them.
    ///
    /// # Errors
    /// When two objects of a table hold the same entries.
    pub fn new(
        archive: Arc<Archive>,
        objects: &[ArchiveObject],
        selection: Selection,
    ) -> Result<Self, ArchiveError> {
        let mut replay = Self::events_only(archive, objects, selection)?;
        // Time selects events; commands and marks count from their entry on.
        let changes = of_all_times(&replay.selection);
        replay.change_objects = in_log_order(Table::Changes, objects, &changes)?;
        Ok(replay)
    }

    /// Only the events: neither commands, nor marks of imports, nor slices without events.
    ///
    /// # Errors
    /// As [`Self::new`].
    pub fn events_only(
        archive: Arc<Archive>,
        objects: &[ArchiveObject],
        selection: Selection,
    ) -> Result<Self, ArchiveError> {
        Ok(Self {
            archive,
            event_objects: in_log_order(Table::Events, objects, &selection)?,
            change_objects: VecDeque::new(),
            selection,
            events: LoadedEvents::default(),
            changes: VecDeque::new(),
        })
    }

    /// The next item; none at the end.
    ///
    /// # Errors
    /// When an object is missing, damaged, or cannot be read. The replay cannot go on then: begin a new one behind the
    /// last item.
    pub async fn next(&mut self) -> Result<Option<ReplayItem>, ArchiveError> {
        while self.events.order.is_empty()
            && let Some(object) = self.event_objects.pop_front()
        {
            self.events = self.load_events(&object).await?;
        }
        while self.changes.is_empty()
            && let Some(object) = self.change_objects.pop_front()
        {
            self.changes = self.load_changes(&object).await?;
        }
        let event = self.events.order.last().map(|at| (at.index, at.slice));
        let change = self.changes.front().map(|(entry, change)| match change {
            ChangeRow::Command(_) => (entry.index.0, 0),
            ChangeRow::Slice(slice, _) => (entry.index.0, *slice),
        });
        let order = match (event, change) {
            (None, None) => return Ok(None),
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (Some(event), Some(change)) => event.cmp(&change),
        };
        let mark = match order {
            Ordering::Less => None,
            Ordering::Equal | Ordering::Greater => match self.changes.pop_front() {
                Some((entry, ChangeRow::Command(command))) => {
                    return Ok(Some(ReplayItem::Command { entry, command }));
                }
                Some((entry, ChangeRow::Slice(slice, mark))) => Some((entry, slice, mark)),
                None => None,
            },
        };
        match (order, mark) {
            (Ordering::Greater, Some((entry, slice, mark))) => {
                Ok(Some(ReplayItem::Events(without_events(entry, slice, mark))))
            }
            (_, mark) => {
                let mark = mark.map(|(_, _, mark)| mark);
                self.events.next_slice(mark).map(Some)
            }
        }
    }

    async fn load_events(&self, object: &ArchiveObject) -> Result<LoadedEvents, ArchiveError> {
        let selection = self.selection.clone();
        self.load(Table::Events, object, move |path, reader| {
            LoadedEvents::read(path, reader, &selection)
        })
        .await
    }

    async fn load_changes(
        &self,
        object: &ArchiveObject,
    ) -> Result<VecDeque<(EntryHead, ChangeRow)>, ArchiveError> {
        let selection = of_all_times(&self.selection);
        self.load(Table::Changes, object, move |path, reader| {
            let mut rows = Vec::new();
            for batch in reader.select(&selection)? {
                let changes = change::read(&batch?)
                    .ok_or_else(|| ArchiveError::damaged(path, "a change is not one of ours"))?;
                rows.extend(changes);
            }
            rows.sort_by_key(|(entry, change)| match change {
                ChangeRow::Command(_) => (entry.index, 0),
                ChangeRow::Slice(slice, _) => (entry.index, *slice),
            });
            Ok(rows.into())
        })
        .await
    }

    /// Reads an object outside of the threads that serve.
    async fn load<T: Send + 'static>(
        &self,
        table: Table,
        object: &ArchiveObject,
        read: impl FnOnce(&str, &ObjectReader) -> Result<T, ArchiveError> + Send + 'static,
    ) -> Result<T, ArchiveError> {
        let bytes: Bytes = self.archive.get_cached(object).await?;
        let path = path_of(object)?.to_owned();
        let task = tokio::task::spawn_blocking(move || {
            let reader = ObjectReader::open(&path, table, bytes)?;
            read(&path, &reader)
        });
        match task.await {
            Ok(read) => read,
            Err(error) => Err(ArchiveError::damaged(path_of(object)?, error)),
        }
    }
}

impl LoadedEvents {
    fn read(
        path: &str,
        reader: &ObjectReader,
        selection: &Selection,
    ) -> Result<Self, ArchiveError> {
        let mut loaded = Self {
            path: path.to_owned(),
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

    /// The slice that comes next; its mark comes from the table of changes.
    fn next_slice(&mut self, mark: Option<SiteEvents>) -> Result<ReplayItem, ArchiveError> {
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
        Ok(ReplayItem::Events(EventSlice {
            entry,
            slice: first.slice,
            batch: builder.finish(site, mark),
            codes,
            offsets,
        }))
    }
}

fn without_events(entry: EntryHead, slice: u32, mark: SiteEvents) -> EventSlice {
    EventSlice {
        entry,
        slice,
        batch: EventBatch {
            sites: vec![mark],
            ..EventBatch::default()
        },
        codes: Vec::new(),
        offsets: Vec::new(),
    }
}

fn of_all_times(selection: &Selection) -> Selection {
    Selection {
        times: Selection::default().times,
        ..selection.clone()
    }
}

/// Objects of a table that may hold what is wanted; no two hold the same entries.
fn in_log_order(
    table: Table,
    objects: &[ArchiveObject],
    selection: &Selection,
) -> Result<VecDeque<ArchiveObject>, ArchiveError> {
    let mut wanted: Vec<&ArchiveObject> = objects
        .iter()
        .filter(|object| Table::from_stored(object.table) == Some(table))
        .filter(|object| selection.may_hold(object))
        .collect();
    wanted.sort_by_key(|object| object.first_index);
    for (one, other) in wanted.iter().zip(wanted.iter().skip(1)) {
        if other.first_index <= one.last_index {
            return Err(ArchiveError::Overlapping {
                one: path_of(one)?.to_owned(),
                other: path_of(other)?.to_owned(),
            });
        }
    }
    Ok(wanted.into_iter().cloned().collect())
}

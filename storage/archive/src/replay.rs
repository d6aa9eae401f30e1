//! What was sealed, entry by entry in the order of the log.

use std::{cmp::Ordering, collections::VecDeque, sync::Arc};

use bytes::Bytes;
use ringtail_proto::{
    LogIndex,
    stored::{ArchiveObject, EventBatch, SiteCommand, SiteEvents},
};
use tokio::{sync::Semaphore, time::Instant};

use crate::{
    archive::{Archive, path_of},
    change::{self, ChangeRow},
    error::ArchiveError,
    loaded_events::LoadedEvents,
    object_reader::ObjectReader,
    reading::Reading,
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
    /// True when the entry has no further events that are selected.
    pub ends_entry: bool,
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

/// How a replay goes on.
#[derive(Clone, Debug, PartialEq)]
pub enum ReplayStep {
    /// What the log held.
    Item(ReplayItem),
    /// An object of events up to this entry has nothing that is selected.
    Passed(LogIndex),
    /// That was all.
    End,
}

/// Reads one object of each table at a time; of it, only the selected rows are kept in memory.
pub struct Replay {
    archive: Arc<Archive>,
    selection: Selection,
    /// Who reads an object of events takes one of these.
    turns: Option<Arc<Semaphore>>,
    /// The first one is the next one to be read.
    event_objects: VecDeque<ArchiveObject>,
    change_objects: VecDeque<ArchiveObject>,
    event_reading: Reading<LoadedEvents>,
    change_reading: Reading<VecDeque<(EntryHead, ChangeRow)>>,
    events: LoadedEvents,
    loaded: Option<Instant>,
    changes: VecDeque<(EntryHead, ChangeRow)>,
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
            turns: None,
            event_reading: Reading::default(),
            change_reading: Reading::default(),
            events: LoadedEvents::default(),
            loaded: None,
            changes: VecDeque::new(),
        })
    }

    /// Rows of events are in memory only while one of these permits is held: it is given back with the last row of each
    /// object.
    #[must_use]
    pub fn taking_turns(mut self, turns: Arc<Semaphore>) -> Self {
        self.turns = Some(turns);
        self
    }

    /// Since when rows of the present object of events have been in memory; none when there are none.
    #[must_use]
    pub const fn loaded_since(&self) -> Option<Instant> {
        self.loaded
    }

    /// The next item; none at the end. Nothing is lost when the caller stops waiting.
    ///
    /// # Errors
    /// When an object is missing, damaged, or cannot be read. Whoever asks again has it read again.
    pub async fn next(&mut self) -> Result<Option<ReplayItem>, ArchiveError> {
        loop {
            match self.step().await? {
                ReplayStep::Item(item) => return Ok(Some(item)),
                ReplayStep::Passed(_) => {}
                ReplayStep::End => return Ok(None),
            }
        }
    }

    /// The next item, or that there is none in the next object of events. Nothing is lost when the caller stops waiting, and
    /// an object that is being read goes on being read.
    ///
    /// # Errors
    /// As [`Self::next`].
    pub async fn step(&mut self) -> Result<ReplayStep, ArchiveError> {
        if self.events.is_used_up()
            && let Some(passed) = self.load_events().await?
        {
            return Ok(ReplayStep::Passed(passed));
        }
        while self.changes.is_empty() && !self.change_objects.is_empty() {
            self.load_changes().await?;
        }
        let event = self.events.next();
        let change = self.changes.front().map(|(entry, change)| match change {
            ChangeRow::Command(_) => (entry.index.0, 0),
            ChangeRow::Slice(slice, _) => (entry.index.0, *slice),
        });
        let order = match (event, change) {
            (None, None) => return Ok(ReplayStep::End),
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (Some(event), Some(change)) => event.cmp(&change),
        };
        let mark = match order {
            Ordering::Less => None,
            Ordering::Equal | Ordering::Greater => match self.changes.pop_front() {
                Some((entry, ChangeRow::Command(command))) => {
                    return Ok(ReplayStep::Item(ReplayItem::Command { entry, command }));
                }
                Some((entry, ChangeRow::Slice(slice, mark))) => Some((entry, slice, mark)),
                None => None,
            },
        };
        let slice = match (order, mark) {
            (Ordering::Greater, Some((entry, slice, mark))) => without_events(entry, slice, mark),
            (_, mark) => self.next_slice(mark.map(|(_, _, mark)| mark))?,
        };
        Ok(ReplayStep::Item(ReplayItem::Events(slice)))
    }

    fn next_slice(&mut self, mark: Option<SiteEvents>) -> Result<EventSlice, ArchiveError> {
        let slice = self.events.next_slice(mark)?;
        if self.events.is_used_up() {
            self.events = LoadedEvents::default();
            self.loaded = None;
        }
        Ok(slice)
    }

    /// Reads the next object of events, if there is one; tells its last entry when nothing of it is selected.
    async fn load_events(&mut self) -> Result<Option<LogIndex>, ArchiveError> {
        let Some(object) = self.event_objects.front() else {
            return Ok(None);
        };
        let last = LogIndex(object.last_index);
        let path = path_of(object)?.to_owned();
        let (archive, object) = (Arc::clone(&self.archive), object.clone());
        let (selection, turns) = (self.selection.clone(), self.turns.clone());
        let read = async move {
            // Nobody closes it.
            let turn = match turns {
                Some(turns) => turns.acquire_owned().await.ok(),
                None => None,
            };
            read_object(&archive, Table::Events, &object, move |path, reader| {
                LoadedEvents::read(path, reader, &selection, turn)
            })
            .await
        };
        self.events = self.event_reading.go_on(&path, read).await?;
        self.event_objects.pop_front();
        if self.events.is_used_up() {
            self.events = LoadedEvents::default();
            return Ok(Some(last));
        }
        self.loaded = Some(Instant::now());
        Ok(None)
    }

    async fn load_changes(&mut self) -> Result<(), ArchiveError> {
        let Some(object) = self.change_objects.front() else {
            return Ok(());
        };
        let path = path_of(object)?.to_owned();
        let (archive, object) = (Arc::clone(&self.archive), object.clone());
        let selection = of_all_times(&self.selection);
        let read = async move {
            read_object(&archive, Table::Changes, &object, move |path, reader| {
                read_changes(path, reader, &selection)
            })
            .await
        };
        self.changes = self.change_reading.go_on(&path, read).await?;
        self.change_objects.pop_front();
        Ok(())
    }
}

/// Reads an object outside of the threads that serve.
async fn read_object<T: Send + 'static>(
    archive: &Archive,
    table: Table,
    object: &ArchiveObject,
    read: impl FnOnce(&str, &ObjectReader) -> Result<T, ArchiveError> + Send + 'static,
) -> Result<T, ArchiveError> {
    let bytes: Bytes = archive.get_cached(object).await?;
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

fn read_changes(
    path: &str,
    reader: &ObjectReader,
    selection: &Selection,
) -> Result<VecDeque<(EntryHead, ChangeRow)>, ArchiveError> {
    let mut rows = Vec::new();
    for batch in reader.select(selection)? {
        let changes = change::read(&batch?)
            .ok_or_else(|| ArchiveError::damaged(path, "a change is not one of ours"))?;
        rows.extend(changes);
    }
    rows.sort_by_key(|(entry, change)| match change {
        ChangeRow::Command(_) => (entry.index, 0),
        ChangeRow::Slice(slice, _) => (entry.index, *slice),
    });
    Ok(rows.into())
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
        ends_entry: false,
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

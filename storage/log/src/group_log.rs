//! One group's part of the shared log.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::{Mutex, MutexGuard};
use ringtail_proto::{GroupId, LogIndex};

use crate::disk::DiskFile;
use crate::error::LogError;
use crate::group_state::{GroupState, Location, Source};
use crate::position::{Entry, Position, Vote};
use crate::queue::{OnDurable, Request};
use crate::record::{self, RECORD_HEADER_BYTES, Record, RecordKind};
use crate::segment_log::SegmentLog;

/// One group's part of the shared log. Clones are the same log.
///
/// What is appended can be read at once and is durable when its callback says so. Requests of one group reach the disk
/// in the order in which they are made.
#[derive(Clone)]
pub struct GroupLog {
    log: Arc<SegmentLog>,
    group: GroupId,
    state: Arc<Mutex<GroupState>>,
}

impl fmt::Debug for GroupLog {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "GroupLog({})", self.group)
    }
}

impl GroupLog {
    pub(crate) fn new(log: Arc<SegmentLog>, group: GroupId, state: Arc<Mutex<GroupState>>) -> Self {
        Self { log, group, state }
    }

    /// The group.
    #[must_use]
    pub fn group(&self) -> GroupId {
        self.group
    }

    /// The shared log.
    #[must_use]
    pub fn log(&self) -> &Arc<SegmentLog> {
        &self.log
    }

    /// Adds entries that follow each other and what is there; the callback runs once they are durable, on the writer
    /// thread, so it must not block.
    ///
    /// The callback runs in any case, with the error if there is one, also when the append is refused at once.
    pub fn append(&self, entries: Vec<Entry>, on_durable: OnDurable) -> Result<(), LogError> {
        let mut state = self.state.lock();
        if let Err(error) = self.check_append(&state, &entries) {
            drop(state);
            on_durable(Err(error.clone()));
            return Err(error);
        }
        let mut records = Vec::with_capacity(entries.len() + 1);
        for entry in entries {
            state.push(&entry);
            records.push(Record::entry(self.group, entry));
        }
        // A commit point need not be durable, so it waits for an append to carry it.
        if state.committed_is_unwritten
            && let Some(committed) = state.committed
        {
            state.committed_is_unwritten = false;
            let kind = RecordKind::Committed;
            records.push(Record::positioned(kind, self.group, committed));
        }
        self.send(state, records, Some(on_durable))
    }

    fn check_append(&self, state: &GroupState, entries: &[Entry]) -> Result<(), LogError> {
        if let Some(error) = self.log.failure() {
            return Err(error);
        }
        let bytes_max = self.log.shared().options.entry_bytes_max;
        let mut next = state.next();
        for entry in entries {
            let found = entry.position.index;
            let expected = next.unwrap_or(found.0);
            if expected != found.0 {
                return Err(LogError::Hole {
                    group: self.group,
                    expected: LogIndex(expected),
                    found,
                });
            }
            let bytes = entry.payload.len() as u64;
            if bytes > bytes_max {
                return Err(LogError::EntryTooLarge { bytes, bytes_max });
            }
            next = Some(expected + 1);
        }
        Ok(())
    }

    /// Removes the entries after the index, or all with `None`. Later requests reach the disk after it.
    pub fn truncate_after(&self, last_kept: Option<LogIndex>) -> Result<(), LogError> {
        let mut state = self.state.lock();
        let first_removed = LogIndex(last_kept.map_or(0, |last| last.0 + 1));
        state.truncate(first_removed);
        let record = Record::truncate(self.group, first_removed);
        self.send(state, vec![record], None)
    }

    /// Gives up the entries up to the position. Once that is durable, segments that hold nothing else leave the log.
    ///
    /// A group that never purges keeps every segment since its first entry.
    pub fn purge(&self, upto: Position) -> Result<(), LogError> {
        self.purge_with(upto, None)
    }

    /// The same; the callback runs once it is durable.
    pub fn purge_durably(&self, upto: Position, on_durable: OnDurable) -> Result<(), LogError> {
        self.purge_with(upto, Some(on_durable))
    }

    fn purge_with(&self, upto: Position, on_durable: Option<OnDurable>) -> Result<(), LogError> {
        let mut state = self.state.lock();
        state.purge(upto);
        let record = Record::positioned(RecordKind::Purge, self.group, upto);
        self.send(state, vec![record], on_durable)
    }

    /// Saves the vote; the callback runs once it is durable, and only then may anyone learn of it.
    pub fn save_vote(&self, vote: Vote, on_durable: OnDurable) -> Result<(), LogError> {
        let mut state = self.state.lock();
        state.vote = Some(vote);
        let record = Record::vote(self.group, vote);
        self.send(state, vec![record], Some(on_durable))
    }

    /// Notes how far the group has committed. Not durable: it reaches the disk with a later append or at close.
    pub fn save_committed(&self, committed: Option<Position>) {
        let mut state = self.state.lock();
        if state.committed != committed && committed.is_some() {
            state.committed = committed;
            state.committed_is_unwritten = true;
        }
    }

    /// The queue is entered while the group is locked, so that memory and disk see the same order.
    fn send(
        &self,
        state: MutexGuard<'_, GroupState>,
        records: Vec<Record>,
        on_durable: Option<OnDurable>,
    ) -> Result<(), LogError> {
        let request = Request {
            records,
            truncations: state.truncations(),
            on_durable,
        };
        let refused = match self.log.failure() {
            Some(error) => Some((request, error)),
            None => self
                .log
                .shared()
                .queue
                .push(request)
                .err()
                .map(|request| (request, LogError::Closed)),
        };
        drop(state);
        let Some((request, error)) = refused else {
            return Ok(());
        };
        request.answer(Err(error.clone()));
        Err(error)
    }

    /// The kept entries of `[from, to)`: up to `bytes_max` of payload, but at least one if there is any.
    ///
    /// Blocks on the disk unless [`GroupLog::is_cached_from`] says otherwise.
    pub fn read(
        &self,
        from: LogIndex,
        to: LogIndex,
        bytes_max: u64,
    ) -> Result<Vec<Entry>, LogError> {
        let mut files: Vec<Option<Arc<dyn DiskFile>>> = Vec::new();
        let sources = {
            let state = self.state.lock();
            let sources = state.sources(from, to, bytes_max);
            // A segment stays open while we read it, even if a purge moves it away meanwhile.
            let segments = self.log.shared().segments.lock();
            for source in &sources {
                files.push(match source {
                    Source::Memory(_) => None,
                    Source::Disk(_, location) => segments
                        .get(&location.segment)
                        .map(|segment| segment.file.clone()),
                });
            }
            sources
        };
        let mut entries = Vec::with_capacity(sources.len());
        for (source, file) in sources.into_iter().zip(files) {
            entries.push(match source {
                Source::Memory(entry) => entry,
                Source::Disk(position, location) => self.read_record(position, location, file)?,
            });
        }
        Ok(entries)
    }

    fn read_record(
        &self,
        position: Position,
        location: Location,
        file: Option<Arc<dyn DiskFile>>,
    ) -> Result<Entry, LogError> {
        let corrupt = |reason| LogError::Corrupt {
            segment: location.segment,
            offset: u64::from(location.offset),
            reason,
        };
        let file = file.ok_or(LogError::MissingSegment {
            segment: location.segment,
        })?;
        let mut bytes = vec![0; RECORD_HEADER_BYTES + location.payload_bytes as usize];
        file.read_exact_at(&mut bytes, u64::from(location.offset))
            .map_err(|error| {
                let path = self
                    .log
                    .shared()
                    .directory
                    .join(location.segment.file_name());
                LogError::io("read", &path, error)
            })?;
        let bytes = Bytes::from(bytes);
        let (record, _) = record::decode_alone(&bytes, location.segment, location.offset as usize)
            .map_err(corrupt)?;
        let is_expected = record.kind == RecordKind::Entry
            && record.group == self.group
            && record.position == position;
        if !is_expected {
            return Err(corrupt("record is not the entry that was written there"));
        }
        Ok(Entry {
            position,
            tag: record.tag,
            payload: record.payload,
        })
    }

    /// True when reading from the index on needs no disk.
    #[must_use]
    pub fn is_cached_from(&self, from: LogIndex) -> bool {
        self.state.lock().is_cached_from(from)
    }

    /// Position of the first entry that is kept.
    #[must_use]
    pub fn first(&self) -> Option<Position> {
        self.state.lock().first_entry()
    }

    /// Position of the last entry, or of the purge point when there is none after it.
    #[must_use]
    pub fn last(&self) -> Option<Position> {
        let state = self.state.lock();
        state.last_entry().or(state.purged)
    }

    /// Position up to which entries were given up.
    #[must_use]
    pub fn purged(&self) -> Option<Position> {
        self.state.lock().purged
    }

    /// The last vote.
    #[must_use]
    pub fn vote(&self) -> Option<Vote> {
        self.state.lock().vote
    }

    /// How far the group had committed when that last reached the disk; never beyond [`GroupLog::last`].
    #[must_use]
    pub fn committed(&self) -> Option<Position> {
        let state = self.state.lock();
        let last = state.last_entry().or(state.purged)?;
        let committed = state.committed?;
        Some(if committed.index > last.index {
            last
        } else {
            committed
        })
    }
}

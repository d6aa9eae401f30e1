//! The shared log as openraft's log storage.

use std::fmt::Debug;
use std::io;
use std::ops::{Bound, RangeBounds};

use crate::blocking::spawn_blocking;
use futures::Stream;
use futures::stream;
use openraft::storage::{IOFlushed, LogState, RaftLogStorage};
use openraft::{OptionalSend, RaftLogReader};
use ringtail_log::{GroupLog, LogError, OnDurable};
use ringtail_proto::LogIndex;
use tokio::sync::oneshot;

use crate::convert;
use crate::error::RaftError;
use crate::types::{Entry, LogId, TypeConfig, Vote};

/// Payload bytes of one read while entries are streamed.
const READ_BYTES_MAX: u64 = 1 << 20;

/// One group's log as openraft sees it: both the storage and its readers.
#[derive(Clone, Debug)]
pub(crate) struct LogStore {
    log: GroupLog,
}

impl LogStore {
    pub(crate) fn new(log: GroupLog) -> Self {
        Self { log }
    }

    async fn read(&self, from: u64, to: u64, bytes_max: u64) -> io::Result<Vec<Entry>> {
        let log = self.log.clone();
        let (from, to) = (LogIndex(from), LogIndex(to));
        let stored = if log.is_cached_from(from) {
            log.read(from, to, bytes_max)?
        } else {
            spawn_blocking(move || log.read(from, to, bytes_max))
                .await
                .map_err(io::Error::other)??
        };
        stored
            .into_iter()
            .map(|entry| convert::entry(entry).map_err(io::Error::other))
            .collect()
    }
}

/// Asks the log for something, and waits until it is on disk.
pub(crate) async fn durably(
    ask: impl FnOnce(OnDurable) -> Result<(), LogError>,
) -> Result<(), LogError> {
    let (done, is_durable) = oneshot::channel();
    ask(Box::new(move |result| {
        // Nobody waits when the group was closed meanwhile.
        let _ = done.send(result);
    }))?;
    is_durable.await.unwrap_or(Err(LogError::Closed))
}

/// The half-open range of indexes.
fn bounds(range: &impl RangeBounds<u64>) -> (u64, u64) {
    let from = match range.start_bound() {
        Bound::Included(index) => *index,
        Bound::Excluded(index) => index.saturating_add(1),
        Bound::Unbounded => 0,
    };
    let to = match range.end_bound() {
        Bound::Included(index) => index.saturating_add(1),
        Bound::Excluded(index) => *index,
        Bound::Unbounded => u64::MAX,
    };
    (from, to)
}

impl RaftLogReader<TypeConfig> for LogStore {
    async fn try_get_log_entries<RB: RangeBounds<u64> + Clone + Debug + OptionalSend>(
        &mut self,
        range: RB,
    ) -> io::Result<Vec<Entry>> {
        // The caller needs all of them, and asks for at most 64 at a time.
        let (from, to) = bounds(&range);
        self.read(from, to, u64::MAX).await
    }

    async fn limited_get_log_entries(&mut self, start: u64, end: u64) -> io::Result<Vec<Entry>> {
        self.read(start, end, READ_BYTES_MAX).await
    }

    /// Reads piece by piece: a long backlog never lies in memory as a whole.
    async fn entries_stream<RB>(
        &mut self,
        range: RB,
    ) -> impl Stream<Item = io::Result<Entry>> + OptionalSend
    where
        RB: RangeBounds<u64> + Clone + Debug + OptionalSend,
    {
        let (from, to) = bounds(&range);
        let store = self.clone();
        let pieces = stream::unfold(Some(from), move |from| {
            let store = store.clone();
            async move {
                let from = from.filter(|from| *from < to)?;
                let piece = store.read(from, to, READ_BYTES_MAX).await;
                let next = match &piece {
                    Ok(entries) => entries.last().map(|entry| entry.log_id.index + 1),
                    Err(_) => None,
                };
                let items: Vec<io::Result<Entry>> = match piece {
                    Ok(entries) => entries.into_iter().map(Ok).collect(),
                    Err(error) => vec![Err(error)],
                };
                Some((stream::iter(items), next))
            }
        });
        futures::StreamExt::flatten(pieces)
    }

    async fn read_vote(&mut self) -> io::Result<Option<Vote>> {
        Ok(self.log.vote().map(convert::vote))
    }
}

impl RaftLogStorage<TypeConfig> for LogStore {
    type LogReader = Self;

    async fn get_log_state(&mut self) -> io::Result<LogState<TypeConfig>> {
        Ok(LogState {
            last_purged_log_id: self.log.purged().map(convert::log_id),
            last_log_id: self.log.last().map(convert::log_id),
        })
    }

    async fn get_log_reader(&mut self) -> Self {
        self.clone()
    }

    async fn save_vote(&mut self, vote: &Vote) -> io::Result<()> {
        let vote = convert::stored_vote(vote);
        Ok(durably(|on_durable| self.log.save_vote(vote, on_durable)).await?)
    }

    async fn save_committed(&mut self, committed: Option<LogId>) -> io::Result<()> {
        self.log
            .save_committed(committed.as_ref().map(convert::stored_position));
        Ok(())
    }

    async fn read_committed(&mut self) -> io::Result<Option<LogId>> {
        Ok(self.log.committed().map(convert::log_id))
    }

    async fn append<I>(&mut self, entries: I, callback: IOFlushed<TypeConfig>) -> io::Result<()>
    where
        I: IntoIterator<Item = Entry> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        let stored = entries
            .into_iter()
            .map(convert::stored_entry)
            .collect::<Result<Vec<_>, RaftError>>()
            .map_err(io::Error::other)?;
        let on_durable = Box::new(move |result: Result<(), ringtail_log::LogError>| {
            callback.io_completed(result.map_err(io::Error::from));
        });
        Ok(self.log.append(stored, on_durable)?)
    }

    async fn truncate_after(&mut self, last_kept: Option<LogId>) -> io::Result<()> {
        let last_kept = last_kept.map(|log_id| LogIndex(log_id.index));
        Ok(self.log.truncate_after(last_kept)?)
    }

    async fn purge(&mut self, upto: LogId) -> io::Result<()> {
        Ok(self.log.purge(convert::stored_position(&upto))?)
    }
}

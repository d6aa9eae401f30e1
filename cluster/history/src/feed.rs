//! The events of a group from a position on: out of the archive, then out of the log, then as they come.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use ringtail_archive::{
    Archive, ArchiveError, EntryHead, EventSlice, Replay, ReplayItem, ReplayStep, Selection,
};
use ringtail_partition::{Logged, LoggedEntry, Partitions, SiteMachine};
use ringtail_proto::{
    GroupId, LogIndex, SiteId,
    stored::{EventBatch, SiteEvents},
};

use tokio::{
    sync::Semaphore,
    time::{Instant, timeout_at},
};

use crate::HistoryError;

/// Rows of an object stay in memory so long when others wait for their turn.
const TURN_MAX: Duration = Duration::from_secs(30);
/// An object that is gone may have been replaced: the manifest tells by what.
const MISSES_MAX: u32 = 3;

/// Where a subscriber is in a group's log: behind this event. It means the same on every replica.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct EventPosition {
    /// The entry.
    pub index: LogIndex,
    /// Which of the entry's slices.
    pub slice: u32,
    /// Which event of the slice.
    pub offset: u32,
}

impl EventPosition {
    /// Behind all events of an entry.
    #[must_use]
    pub const fn end_of(index: LogIndex) -> Self {
        Self {
            index,
            slice: u32::MAX,
            offset: u32::MAX,
        }
    }

    /// True behind all events of an entry: who goes on here needs no more of it.
    #[must_use]
    pub fn is_end(&self) -> bool {
        *self == Self::end_of(self.index)
    }
}

/// One site's events in one entry.
#[derive(Clone, Debug, PartialEq)]
pub struct FedSlice {
    /// The entry.
    pub entry: EntryHead,
    /// The position that the slice has in the log's batch.
    pub slice: u32,
    /// What the events share.
    pub batch: Arc<EventBatch>,
    /// Where the slice is in `batch`.
    place: usize,
    /// The verdict's code of each event.
    pub codes: Vec<u8>,
    /// The position of each event in the slice of the log.
    pub offsets: Vec<u32>,
    /// True when the entry has no further events that are asked for.
    pub ends_entry: bool,
}

impl FedSlice {
    /// The events.
    #[must_use]
    pub fn events(&self) -> Option<&SiteEvents> {
        self.batch.sites.get(self.place)
    }

    /// Behind the event at a place of the slice.
    #[must_use]
    pub fn position(&self, event: usize) -> EventPosition {
        EventPosition {
            index: self.entry.index,
            slice: self.slice,
            offset: self.offsets.get(event).copied().unwrap_or(u32::MAX),
        }
    }

    /// Behind all events of the slice; behind the entry when it is the last one.
    #[must_use]
    pub const fn end(&self) -> EventPosition {
        let index = self.entry.index;
        match self.ends_entry {
            true => EventPosition::end_of(index),
            false => EventPosition {
                index,
                slice: self.slice,
                offset: u32::MAX,
            },
        }
    }
}

/// What comes next.
#[derive(Clone, Debug, PartialEq)]
pub enum Fed {
    /// Events; those at or before the position that was asked for are among them where they share a slice with later ones.
    Slice(FedSlice),
    /// There is nothing up to here.
    Nothing(EventPosition),
}

/// Where feeds of one node take events from.
pub struct FeedSource<M: SiteMachine> {
    /// The replicas here.
    pub partitions: Arc<Partitions<M>>,
    /// The archive, if there is one and it was reached.
    pub archive: Option<Arc<Archive>>,
    /// So many objects of the archive may be in memory at once, for all feeds of the node together.
    pub turns: Arc<Semaphore>,
}

/// Follows one group from a position on.
pub struct EventFeed<M: SiteMachine> {
    source: FeedSource<M>,
    group: GroupId,
    site: Option<SiteId>,
    position: EventPosition,
    replay: Option<(Replay, LogIndex)>,
    logged: VecDeque<FedSlice>,
    /// Once `logged` is used up.
    logged_through: Option<LogIndex>,
    misses: u32,
}

impl<M: SiteMachine> EventFeed<M> {
    /// The events of one site or of all, behind a position.
    #[must_use]
    pub const fn new(
        source: FeedSource<M>,
        group: GroupId,
        site: Option<SiteId>,
        position: EventPosition,
    ) -> Self {
        Self {
            source,
            group,
            site,
            position,
            replay: None,
            logged: VecDeque::new(),
            logged_through: None,
            misses: 0,
        }
    }

    /// Gives up what is in memory: whoever does not take what comes must not keep others from it. It is read again when it
    /// is asked for.
    pub fn rest(&mut self) {
        self.replay = None;
        self.logged.clear();
        self.logged_through = None;
    }

    /// What comes next; waits for it until then, and says after that that there is nothing. Nothing is lost when the caller
    /// stops waiting.
    ///
    /// # Errors
    /// When this node cannot tell, or nobody any more: [`HistoryError::Gone`]. Whoever asks again, here or elsewhere, goes on
    /// where this ended.
    pub async fn next(&mut self, until: Instant) -> Result<Fed, HistoryError> {
        loop {
            if let Some(slice) = self.logged.pop_front() {
                self.position = slice.end();
                return Ok(Fed::Slice(slice));
            }
            if let Some(through) = self.logged_through.take() {
                self.position = self.position.max(EventPosition::end_of(through));
                return Ok(Fed::Nothing(self.position));
            }
            let fed = match self.replay.is_some() {
                true => self.replayed(until).await?,
                false => self.look(until).await?,
            };
            if let Some(fed) = fed {
                return Ok(fed);
            }
        }
    }

    /// Looks where the next events are.
    async fn look(&mut self, until: Instant) -> Result<Option<Fed>, HistoryError> {
        let mut applied = self.source.partitions.watch_applied(self.group)?;
        applied.mark_unchanged();
        // A slice that was handed over in part is in an entry that has to be read again.
        let after = match self.position.is_end() {
            true => self.position.index,
            false => LogIndex(self.position.index.0.saturating_sub(1)),
        };
        match self.source.partitions.logged(self.group, after).await? {
            Some(Logged::Entries { entries, through }) => {
                for entry in entries {
                    self.take(entry);
                }
                self.logged_through = Some(through);
            }
            Some(Logged::Sealed) => self.open_replay()?,
            // Whoever begins takes what there is.
            Some(Logged::Gone(through)) if self.position == EventPosition::default() => {
                self.position = EventPosition::end_of(through);
            }
            Some(Logged::Gone(through)) => {
                return Err(HistoryError::Gone {
                    group: self.group,
                    through,
                });
            }
            None => match timeout_at(until, applied.changed()).await {
                Ok(changed) => changed.map_err(|_| HistoryError::Stopping)?,
                Err(_elapsed) => return Ok(Some(Fed::Nothing(self.position))),
            },
        }
        Ok(None)
    }

    fn take(&mut self, entry: LoggedEntry) {
        let head = EntryHead {
            index: entry.index,
            stamp: entry.stamp,
            version: entry.version,
        };
        let batch = Arc::new(entry.batch);
        let before = self.logged.len();
        for (place, (events, codes)) in batch.sites.iter().zip(entry.codes).enumerate() {
            let slice = FedSlice {
                entry: head,
                slice: place as u32,
                batch: Arc::clone(&batch),
                place,
                offsets: (0..codes.len() as u32).collect(),
                codes,
                ends_entry: false,
            };
            let is_wanted = self.site.is_none_or(|site| site.0 == events.site);
            if is_wanted && self.is_next(&slice) {
                self.logged.push_back(slice);
            }
        }
        let has_more = self.logged.len() > before;
        if let Some(last) = self.logged.back_mut().filter(|_| has_more) {
            last.ends_entry = true;
        }
    }

    /// False for a slice all of which was handed over.
    fn is_next(&self, slice: &FedSlice) -> bool {
        let last = slice.offsets.len().checked_sub(1);
        last.is_some_and(|last| slice.position(last) > self.position)
    }

    fn open_replay(&mut self) -> Result<(), HistoryError> {
        let archive = self.source.archive.clone();
        let archive = archive.ok_or(HistoryError::NotReached)?;
        let manifest = self.source.partitions.archive_manifest(self.group)?;
        let sealed = manifest.sealed.unwrap_or_default();
        let selection = Selection {
            site: self.site,
            indexes: self.position.index..=sealed,
            ..Selection::default()
        };
        let objects: Vec<_> = manifest.objects.values().cloned().collect();
        let replay = Replay::events_only(archive, &objects, selection)?;
        let replay = replay.taking_turns(Arc::clone(&self.source.turns));
        self.replay = Some((replay, sealed));
        Ok(())
    }

    /// The next slice of the archive; none when it has to be looked at anew.
    async fn replayed(&mut self, until: Instant) -> Result<Option<Fed>, HistoryError> {
        let Some((replay, sealed)) = &mut self.replay else {
            return Ok(None);
        };
        let turn = replay.loaded_since();
        let is_over = turn.is_some_and(|since| since.elapsed() >= TURN_MAX);
        if is_over && self.source.turns.available_permits() == 0 {
            self.replay = None;
            return Ok(None);
        }
        let sealed = *sealed;
        let slice = match timeout_at(until, replay.step()).await {
            Err(_elapsed) => return Ok(Some(Fed::Nothing(self.position))),
            Ok(Ok(ReplayStep::Item(ReplayItem::Events(slice)))) => FedSlice::from(slice),
            Ok(Ok(ReplayStep::Item(ReplayItem::Command { .. }))) => return Ok(None),
            Ok(Ok(ReplayStep::Passed(through))) => {
                self.position = self.position.max(EventPosition::end_of(through));
                return Ok(Some(Fed::Nothing(self.position)));
            }
            Ok(Ok(ReplayStep::End)) => {
                self.replay = None;
                self.position = self.position.max(EventPosition::end_of(sealed));
                return Ok(Some(Fed::Nothing(self.position)));
            }
            Ok(Err(error)) => {
                self.replay = None;
                // Merged away meanwhile.
                if matches!(error, ArchiveError::Missing { .. }) && self.misses < MISSES_MAX {
                    self.misses += 1;
                    return Ok(None);
                }
                return Err(error.into());
            }
        };
        self.misses = 0;
        if !self.is_next(&slice) {
            return Ok(None);
        }
        self.position = slice.end();
        Ok(Some(Fed::Slice(slice)))
    }
}

impl From<EventSlice> for FedSlice {
    fn from(slice: EventSlice) -> Self {
        Self {
            entry: slice.entry,
            slice: slice.slice,
            batch: Arc::new(slice.batch),
            place: 0,
            codes: slice.codes,
            offsets: slice.offsets,
            ends_entry: slice.ends_entry,
        }
    }
}

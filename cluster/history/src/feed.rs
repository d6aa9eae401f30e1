//! The events of a group from a position on: out of the archive, then out of the log, then as they come.

use std::{collections::VecDeque, sync::Arc};

use ringtail_archive::{
    Archive, ArchiveError, EntryHead, EventSlice, Replay, ReplayItem, Selection,
};
use ringtail_partition::{Logged, LoggedEntry, Partitions, SiteMachine};
use ringtail_proto::{
    GroupId, LogIndex, SiteId,
    stored::{EventBatch, SiteEvents},
};

use crate::HistoryError;

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
}

/// What comes next.
#[derive(Clone, Debug, PartialEq)]
pub enum Fed {
    /// Events; those at or before the position that was asked for are among them where they share a slice with later ones.
    Slice(FedSlice),
    /// There is nothing up to here.
    Nothing(EventPosition),
}

/// Follows one group from a position on.
pub struct EventFeed<M: SiteMachine> {
    partitions: Arc<Partitions<M>>,
    archive: Option<Arc<Archive>>,
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
        partitions: Arc<Partitions<M>>,
        archive: Option<Arc<Archive>>,
        group: GroupId,
        site: Option<SiteId>,
        position: EventPosition,
    ) -> Self {
        Self {
            partitions,
            archive,
            group,
            site,
            position,
            replay: None,
            logged: VecDeque::new(),
            logged_through: None,
            misses: 0,
        }
    }

    /// True when what comes next comes out of the archive; then all selected rows of one of its objects are in memory.
    #[must_use]
    pub fn is_past(&self) -> bool {
        let sealed = || {
            let manifest = self.partitions.archive_manifest(self.group).ok()?;
            manifest.sealed
        };
        let is_sealed = |sealed| self.position < EventPosition::end_of(sealed);
        self.replay.is_some() || sealed().is_some_and(is_sealed)
    }

    /// What comes next; waits for it. Nothing is lost when the caller stops waiting.
    ///
    /// # Errors
    /// When this node cannot tell, or nobody any more: [`HistoryError::Gone`]. A new feed from the position of the last event
    /// goes on where this one ended, here or elsewhere.
    pub async fn next(&mut self) -> Result<Fed, HistoryError> {
        loop {
            if let Some(slice) = self.logged.pop_front() {
                self.position = EventPosition {
                    index: slice.entry.index,
                    slice: slice.slice,
                    offset: u32::MAX,
                };
                return Ok(Fed::Slice(slice));
            }
            if let Some(through) = self.logged_through.take() {
                self.position = self.position.max(EventPosition::end_of(through));
                return Ok(Fed::Nothing(self.position));
            }
            if self.replay.is_some() {
                match self.replayed().await? {
                    Some(fed) => return Ok(fed),
                    None => continue,
                }
            }
            self.look().await?;
        }
    }

    /// Looks where the next events are.
    async fn look(&mut self) -> Result<(), HistoryError> {
        let mut applied = self.partitions.watch_applied(self.group)?;
        applied.mark_unchanged();
        // A slice that was handed over in part is in an entry that has to be read again.
        let after = match self.position {
            position if position == EventPosition::end_of(position.index) => position.index,
            position => LogIndex(position.index.0.saturating_sub(1)),
        };
        match self.partitions.logged(self.group, after).await? {
            Some(Logged::Entries { entries, through }) => {
                for entry in entries {
                    self.take(entry);
                }
                self.logged_through = Some(through);
                Ok(())
            }
            Some(Logged::Sealed) => self.open_replay(),
            // Whoever begins takes what there is.
            Some(Logged::Gone(through)) if self.position == EventPosition::default() => {
                self.position = EventPosition::end_of(through);
                Ok(())
            }
            Some(Logged::Gone(through)) => Err(HistoryError::Gone {
                group: self.group,
                through,
            }),
            None => {
                let changed = applied.changed().await;
                changed.map_err(|_| HistoryError::Stopping)
            }
        }
    }

    fn take(&mut self, entry: LoggedEntry) {
        let head = EntryHead {
            index: entry.index,
            stamp: entry.stamp,
            version: entry.version,
        };
        let batch = Arc::new(entry.batch);
        for (place, (events, codes)) in batch.sites.iter().zip(entry.codes).enumerate() {
            let slice = FedSlice {
                entry: head,
                slice: place as u32,
                batch: Arc::clone(&batch),
                place,
                offsets: (0..codes.len() as u32).collect(),
                codes,
            };
            let is_wanted = self.site.is_none_or(|site| site.0 == events.site);
            if is_wanted && self.is_next(&slice) {
                self.logged.push_back(slice);
            }
        }
    }

    /// False for a slice all of which was handed over.
    fn is_next(&self, slice: &FedSlice) -> bool {
        let last = slice.offsets.len().checked_sub(1);
        last.is_some_and(|last| slice.position(last) > self.position)
    }

    fn open_replay(&mut self) -> Result<(), HistoryError> {
        let archive = self.archive.clone().ok_or(HistoryError::NotReached)?;
        let manifest = self.partitions.archive_manifest(self.group)?;
        let sealed = manifest.sealed.unwrap_or_default();
        let selection = Selection {
            site: self.site,
            indexes: self.position.index..=sealed,
            ..Selection::default()
        };
        let objects: Vec<_> = manifest.objects.values().cloned().collect();
        let replay = Replay::events_only(archive, &objects, selection)?;
        self.replay = Some((replay, sealed));
        Ok(())
    }

    /// The next slice of the archive; none at its end, and when it has to be looked at anew.
    async fn replayed(&mut self) -> Result<Option<Fed>, HistoryError> {
        let Some((replay, sealed)) = &mut self.replay else {
            return Ok(None);
        };
        let sealed = *sealed;
        let slice = match replay.next().await {
            Ok(Some(ReplayItem::Events(slice))) => FedSlice::from(slice),
            Ok(Some(ReplayItem::Command { .. })) => return Ok(None),
            Ok(None) => {
                self.replay = None;
                self.position = self.position.max(EventPosition::end_of(sealed));
                return Ok(Some(Fed::Nothing(self.position)));
            }
            // Merged away meanwhile.
            Err(ArchiveError::Missing { .. }) if self.misses < MISSES_MAX => {
                self.misses += 1;
                self.replay = None;
                return Ok(None);
            }
            Err(error) => return Err(error.into()),
        };
        self.misses = 0;
        if !self.is_next(&slice) {
            return Ok(None);
        }
        self.position = EventPosition {
            index: slice.entry.index,
            slice: slice.slice,
            offset: u32::MAX,
        };
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
        }
    }
}

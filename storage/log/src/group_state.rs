//! One group's log in memory: where each entry is on disk, and the bytes of the most recent ones.
//!
//! Pure: no disk, no queue, no lock. 20 bytes for each entry that is kept, so that millions fit.

use std::collections::VecDeque;

use bytes::Bytes;
use ringtail_proto::{LogIndex, NodeId};

use crate::position::{Entry, Position, Vote};
use crate::segment::SegmentId;

/// Where an entry's record stands on disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Location {
    pub(crate) segment: SegmentId,
    pub(crate) offset: u32,
    pub(crate) payload_bytes: u32,
}

/// What is known of an entry without its bytes.
#[derive(Clone, Copy, Debug)]
struct Slot {
    /// `u32::MAX` as offset until the writer has put the record on disk.
    location: Location,
    /// Truncation count when the entry was appended: a location belongs to the slot of the same count.
    truncations: u32,
    tag: u8,
}

const NOT_ON_DISK: u32 = u32::MAX;

/// Entries from `first` on were proposed by this leader.
#[derive(Clone, Copy, Debug)]
struct LeaderRun {
    first: u64,
    term: u64,
    node: NodeId,
}

/// How one entry of a read can be had.
#[derive(Clone, Debug)]
pub(crate) enum Source {
    Memory(Entry),
    Disk(Position, Location),
}

impl Source {
    pub(crate) fn payload_bytes(&self) -> u64 {
        match self {
            Self::Memory(entry) => entry.payload.len() as u64,
            Self::Disk(_, location) => u64::from(location.payload_bytes),
        }
    }
}

#[derive(Debug, Default)]
pub(crate) struct GroupState {
    /// Index of the first slot; meaningless for a group that never had an entry.
    first: u64,
    slots: VecDeque<Slot>,
    leaders: VecDeque<LeaderRun>,
    /// Payloads of the last `cache.len()` slots.
    cache: VecDeque<Bytes>,
    cache_bytes: u64,
    truncations: u32,
    /// False until the group has an entry or a purge point: then any index may come first.
    has_began: bool,
    pub(crate) purged: Option<Position>,
    pub(crate) vote: Option<Vote>,
    pub(crate) committed: Option<Position>,
    /// True while `committed` is newer than what was handed to the writer.
    pub(crate) committed_is_unwritten: bool,
}

impl GroupState {
    /// The only index that may be appended next; `None` when any may.
    pub(crate) fn next(&self) -> Option<u64> {
        self.has_began
            .then_some(self.first + self.slots.len() as u64)
    }

    /// Position of the first entry that is kept.
    pub(crate) fn first_entry(&self) -> Option<Position> {
        self.position(self.first)
    }

    /// Position of the last entry that is kept.
    pub(crate) fn last_entry(&self) -> Option<Position> {
        self.position(self.next()?.checked_sub(1)?)
    }

    pub(crate) fn truncations(&self) -> u32 {
        self.truncations
    }

    fn position(&self, index: u64) -> Option<Position> {
        let offset = index.checked_sub(self.first)?;
        self.slots.get(usize::try_from(offset).ok()?)?;
        let run = self
            .leaders
            .iter()
            .rev()
            .find(|run| run.first <= index)
            .expect("each slot is covered by a leader run");
        Some(Position {
            term: run.term,
            node: run.node,
            index: LogIndex(index),
        })
    }

    /// Adds an entry that is not on disk yet; the caller has checked its index against [`Self::next`].
    pub(crate) fn push(&mut self, entry: &Entry) {
        let location = Location {
            segment: SegmentId(0),
            offset: NOT_ON_DISK,
            payload_bytes: entry.payload.len() as u32,
        };
        self.push_slot(entry.position, entry.tag, location);
        self.cache_bytes += entry.payload.len() as u64;
        self.cache.push_back(entry.payload.clone());
    }

    /// Adds an entry found on disk by recovery; its bytes stay there.
    pub(crate) fn push_recovered(&mut self, position: Position, tag: u8, location: Location) {
        self.push_slot(position, tag, location);
        self.drop_cache();
    }

    fn push_slot(&mut self, position: Position, tag: u8, location: Location) {
        let index = position.index.0;
        if self.slots.is_empty() {
            self.first = index;
            self.leaders.clear();
        }
        self.has_began = true;
        let is_same_leader = self
            .leaders
            .back()
            .is_some_and(|run| run.term == position.term && run.node == position.node);
        if !is_same_leader {
            self.leaders.push_back(LeaderRun {
                first: index,
                term: position.term,
                node: position.node,
            });
        }
        self.slots.push_back(Slot {
            location,
            truncations: self.truncations,
            tag,
        });
    }

    /// Removes the entries at and above the index.
    pub(crate) fn truncate(&mut self, first_removed: LogIndex) {
        let kept = first_removed.0.saturating_sub(self.first) as usize;
        if kept < self.slots.len() {
            self.truncations += 1;
            for _ in kept..self.slots.len() {
                self.slots.pop_back();
                if let Some(payload) = self.cache.pop_back() {
                    self.cache_bytes -= payload.len() as u64;
                }
            }
            self.leaders.retain(|run| run.first < first_removed.0);
        }
        if self.has_began && self.slots.is_empty() {
            // What is removed may have been in segments that are gone: recovery then knows only what came next.
            let after_purged = self.purged.map_or(0, |purged| purged.index.0 + 1);
            self.first = self.first.min(first_removed.0).max(after_purged);
        }
    }

    /// Removes the entries up to the position; the log starts after it from now on.
    pub(crate) fn purge(&mut self, upto: Position) {
        if self.purged.is_some_and(|purged| purged.index >= upto.index) {
            return;
        }
        let index = upto.index.0;
        if self.next().is_none_or(|next| next <= index) {
            self.slots.clear();
            self.leaders.clear();
            self.drop_cache();
            self.first = index + 1;
        } else {
            let removed = (index + 1).saturating_sub(self.first) as usize;
            let removed_of_cache = self.cache.len().saturating_sub(self.slots.len() - removed);
            for payload in self.cache.drain(..removed_of_cache) {
                self.cache_bytes -= payload.len() as u64;
            }
            self.slots.drain(..removed);
            self.first = self.first.max(index + 1);
            while self
                .leaders
                .get(1)
                .is_some_and(|run| run.first <= self.first)
            {
                self.leaders.pop_front();
            }
        }
        self.has_began = true;
        self.purged = Some(upto);
    }

    /// Starts the log of a group whose earlier entries were in segments that are gone.
    pub(crate) fn start_at(&mut self, next: LogIndex) {
        self.first = next.0;
        self.has_began = true;
    }

    /// Notes where the writer has put an entry, unless the entry is gone meanwhile.
    pub(crate) fn locate(&mut self, index: LogIndex, truncations: u32, location: Location) {
        let Some(offset) = index.0.checked_sub(self.first) else {
            return;
        };
        if let Some(slot) = self.slots.get_mut(offset as usize)
            && slot.truncations == truncations
        {
            slot.location = location;
        }
    }

    /// Lets go of the oldest payloads over the limit; those not on disk stay.
    pub(crate) fn shrink_cache(&mut self, bytes_max: u64) {
        while self.cache_bytes > bytes_max {
            let oldest = self.slots.len() - self.cache.len();
            let is_on_disk = self
                .slots
                .get(oldest)
                .is_some_and(|slot| slot.location.offset != NOT_ON_DISK);
            if !is_on_disk {
                return;
            }
            if let Some(payload) = self.cache.pop_front() {
                self.cache_bytes -= payload.len() as u64;
            }
        }
    }

    fn drop_cache(&mut self) {
        self.cache.clear();
        self.cache_bytes = 0;
    }

    /// True when every kept entry from the index on is in memory.
    pub(crate) fn is_cached_from(&self, index: LogIndex) -> bool {
        let cached_from = self.first + (self.slots.len() - self.cache.len()) as u64;
        index.0.max(self.first) >= cached_from
    }

    /// How to have the kept entries of `[from, to)`, up to `bytes_max` but at least one.
    pub(crate) fn sources(&self, from: LogIndex, to: LogIndex, bytes_max: u64) -> Vec<Source> {
        let mut sources = Vec::new();
        let end = to.0.min(self.first + self.slots.len() as u64);
        let uncached = self.slots.len() - self.cache.len();
        let mut bytes = 0;
        for index in from.0.max(self.first)..end {
            let offset = (index - self.first) as usize;
            let (Some(slot), Some(position)) = (self.slots.get(offset), self.position(index))
            else {
                break;
            };
            let cached = offset
                .checked_sub(uncached)
                .and_then(|offset| self.cache.get(offset));
            let source = match cached {
                Some(payload) => Source::Memory(Entry {
                    position,
                    tag: slot.tag,
                    payload: payload.clone(),
                }),
                None => Source::Disk(position, slot.location),
            };
            bytes += source.payload_bytes();
            if bytes > bytes_max && !sources.is_empty() {
                break;
            }
            sources.push(source);
        }
        sources
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(term: u64, index: u64) -> Entry {
        let position = Position {
            term,
            node: NodeId(1),
            index: LogIndex(index),
        };
        Entry {
            position,
            tag: 1,
            payload: Bytes::from(vec![0; 10]),
        }
    }

    fn state(entries: &[(u64, u64)]) -> GroupState {
        let mut state = GroupState::default();
        for (term, index) in entries {
            state.push(&entry(*term, *index));
        }
        state
    }

    fn place(state: &mut GroupState, index: u64) {
        let location = Location {
            segment: SegmentId(1),
            offset: 32,
            payload_bytes: 10,
        };
        state.locate(LogIndex(index), state.truncations(), location);
    }

    fn printed(state: &GroupState) -> String {
        state
            .sources(LogIndex(0), LogIndex(u64::MAX), u64::MAX)
            .into_iter()
            .map(|source| match source {
                Source::Memory(entry) => format!("{} ", entry.position),
                Source::Disk(position, _) => format!("({position}) "),
            })
            .collect()
    }

    #[test]
    fn truncated_entries_make_room_for_those_of_a_new_leader() {
        let mut state = state(&[(1, 1), (1, 2), (1, 3)]);
        state.truncate(LogIndex(2));
        state.push(&entry(2, 2));
        assert_eq!(printed(&state), "1@T1-N1 2@T2-N1 ");
        assert_eq!(state.next(), Some(3));
    }

    #[test]
    fn location_of_a_truncated_entry_is_not_taken_for_its_successor() {
        let mut state = state(&[(1, 1), (1, 2)]);
        let before = state.truncations();
        state.truncate(LogIndex(2));
        state.push(&entry(2, 2));
        let location = Location {
            segment: SegmentId(1),
            offset: 99,
            payload_bytes: 10,
        };
        state.locate(LogIndex(1), before, location);
        state.locate(LogIndex(2), before, location);
        state.shrink_cache(0);
        assert_eq!(printed(&state), "(1@T1-N1) 2@T2-N1 ");
    }

    #[test]
    fn entries_not_on_disk_stay_in_memory() {
        let mut state = state(&[(1, 1), (1, 2), (1, 3)]);
        place(&mut state, 1);
        state.shrink_cache(0);
        assert_eq!(printed(&state), "(1@T1-N1) 2@T1-N1 3@T1-N1 ");
        assert!(state.is_cached_from(LogIndex(2)));
        assert!(!state.is_cached_from(LogIndex(1)));
    }

    #[test]
    fn purge_keeps_what_follows_and_the_leader_of_it() {
        let mut state = state(&[(1, 1), (1, 2), (3, 3), (3, 4)]);
        state.purge(entry(3, 3).position);
        assert_eq!(printed(&state), "4@T3-N1 ");
        assert_eq!(state.purged, Some(entry(3, 3).position));
        state.purge(entry(5, 9).position);
        assert_eq!(printed(&state), "");
        assert_eq!(state.next(), Some(10));
    }

    #[test]
    fn purge_never_goes_back() {
        let mut state = state(&[(1, 1), (1, 2)]);
        state.purge(entry(1, 2).position);
        state.purge(entry(1, 1).position);
        assert_eq!(state.purged, Some(entry(1, 2).position));
    }

    #[test]
    fn read_stops_at_its_limit_but_never_returns_nothing() {
        let state = state(&[(1, 1), (1, 2), (1, 3)]);
        let check = |bytes_max, expect| {
            let sources = state.sources(LogIndex(1), LogIndex(4), bytes_max);
            assert_eq!(sources.len(), expect, "{bytes_max}");
        };
        check(0, 1);
        check(20, 2);
        check(29, 2);
        check(30, 3);
    }
}

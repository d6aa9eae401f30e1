//! A visitor's run of events without a gap longer than the visit timeout.

use ringtail_proto::HourStart;
use smallvec::SmallVec;

use super::{applied_event::AppliedEvent, part::Part};

/// A maximal run of events, engagement included, in event time.
///
/// Two chains belong together when they share a visitor id and the gap between their spans is at most the timeout.
/// That relation only grows as chains grow, so that merging until nothing belongs together gives the same chains
/// whatever order the events come in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Chain {
    /// Every visitor id that its events carry, in order.
    pub(crate) ids: SmallVec<[u64; 2]>,
    /// In the order of their hours; never empty.
    pub(crate) parts: SmallVec<[Box<Part>; 1]>,
}

impl Chain {
    /// The chain of a single event.
    pub(crate) fn of(hour: HourStart, event: &AppliedEvent) -> Self {
        let mut chain = Self {
            ids: SmallVec::new(),
            parts: SmallVec::new(),
        };
        chain.add(hour, event);
        chain
    }

    /// A chain of what was stored of it.
    pub(crate) fn from_parts(ids: &[u64], mut parts: Vec<Part>) -> Self {
        parts.sort_by_key(|part| part.hour);
        let mut chain = Self {
            ids: SmallVec::new(),
            parts: parts.into_iter().map(Box::new).collect(),
        };
        for id in ids {
            chain.add_id(*id);
        }
        chain
    }

    /// Time of the first event.
    pub(crate) fn first_ms(&self) -> i64 {
        self.parts
            .first()
            .map_or(i64::MAX, |part| part.first.time_ms)
    }

    /// Time of the last event.
    pub(crate) fn last_ms(&self) -> i64 {
        self.parts.last().map_or(i64::MIN, |part| part.last_ms)
    }

    /// The visitor id of the earliest event: whom the chain's visits count for.
    pub(crate) fn visitor(&self) -> u64 {
        self.parts.first().map_or(0, |part| part.first.visitor)
    }

    /// True when the span `first..=last` is within the timeout of this chain's.
    pub(crate) fn is_near(&self, first_ms: i64, last_ms: i64, timeout_ms: i64) -> bool {
        first_ms <= self.last_ms().saturating_add(timeout_ms)
            && last_ms >= self.first_ms().saturating_sub(timeout_ms)
    }

    /// True when this chain holds all that the other could: it shares an id and reaches over the other's span.
    pub(crate) fn covers(&self, ids: &[u64], first_ms: i64, last_ms: i64) -> bool {
        self.first_ms() <= first_ms
            && last_ms <= self.last_ms()
            && ids.iter().any(|id| self.ids.contains(id))
    }

    /// Adds an event.
    pub(crate) fn add(&mut self, hour: HourStart, event: &AppliedEvent) {
        for id in event.ids() {
            self.add_id(id);
        }
        match self.find(hour) {
            Ok(position) => {
                if let Some(part) = self.parts.get_mut(position) {
                    part.add(event);
                }
            }
            Err(position) => self.parts.insert(position, Box::new(Part::of(hour, event))),
        }
    }

    /// Takes over all events of another chain.
    pub(crate) fn merge(&mut self, other: Self) {
        for id in &other.ids {
            self.add_id(*id);
        }
        for part in other.parts {
            match self.find(part.hour) {
                Ok(position) => {
                    if let Some(known) = self.parts.get_mut(position) {
                        known.merge(&part);
                    }
                }
                Err(position) => self.parts.insert(position, part),
            }
        }
    }

    /// The part of an hour.
    pub(crate) fn part(&self, hour: HourStart) -> Option<&Part> {
        let position = self.find(hour).ok()?;
        self.parts.get(position).map(|part| &**part)
    }

    /// The part of an hour, to be changed.
    pub(crate) fn part_mut(&mut self, hour: HourStart) -> Option<&mut Part> {
        let position = self.find(hour).ok()?;
        self.parts.get_mut(position).map(|part| &mut **part)
    }

    fn find(&self, hour: HourStart) -> Result<usize, usize> {
        // Nearly every chain has one part, and the next event goes into the latest.
        match self.parts.last() {
            Some(part) if part.hour == hour => Ok(self.parts.len() - 1),
            Some(part) if part.hour < hour => Err(self.parts.len()),
            _ => self.parts.binary_search_by_key(&hour, |part| part.hour),
        }
    }

    fn add_id(&mut self, id: u64) {
        if let Err(position) = self.ids.binary_search(&id) {
            self.ids.insert(position, id);
        }
    }
}

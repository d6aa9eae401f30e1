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
    /// The hot row that holds the chain as it is; none when it changed since.
    pub(crate) written_in: Option<u8>,
}

impl Chain {
    /// The chain of a single event.
    pub(crate) fn of(hour: HourStart, event: &AppliedEvent) -> Self {
        let mut chain = Self {
            ids: SmallVec::new(),
            parts: SmallVec::new(),
            written_in: None,
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
            written_in: None,
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
        self.written_in = None;
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
        self.written_in = None;
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
        self.written_in = None;
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{
        Money,
        visit::{applied_event::EventKind, touch_sum::TouchKind},
        zone::HOUR_MS,
    };

    fn event() -> impl Strategy<Value = AppliedEvent> {
        let kind = prop_oneof![
            Just(EventKind::Pageview),
            Just(EventKind::Engagement),
            any::<bool>().prop_map(|is_interactive| EventKind::Custom { is_interactive }),
        ];
        let numbers = (0..4 * HOUR_MS, any::<u64>(), 1..4_u64, 0..4_u64, 0..5_u32);
        let more = (0..102_u8, any::<u32>(), 0..3_u32, -5..5_i64);
        (kind, numbers, more).prop_map(
            |(
                kind,
                (time_ms, id, visitor, previous, value),
                (scroll, engaged_ms, goals, amount),
            )| {
                AppliedEvent {
                    time_ms,
                    id,
                    visitor,
                    visitor_previous: previous,
                    kind,
                    name: value,
                    page: value + 10,
                    hostname: 20,
                    client: value,
                    place: value,
                    acquisition: value,
                    scroll_plus_one: scroll,
                    engaged_ms,
                    values: (0..goals).map(|goal| (TouchKind::GOAL, goal)).collect(),
                    goals,
                    revenue: (amount != 0).then(|| Money {
                        currency: ringtail_proto::CurrencyCode::parse(b"EUR")
                            .expect("three letters"),
                        amount_micros: amount * (i64::MAX / 5),
                    }),
                }
            },
        )
    }

    fn chain(events: &[AppliedEvent]) -> Chain {
        let hour = |event: &AppliedEvent| HourStart(event.time_ms / HOUR_MS * HOUR_MS);
        let mut chain = Chain::of(hour(&events[0]), &events[0]);
        for event in &events[1..] {
            chain.add(hour(event), event);
        }
        chain
    }

    fn merged(mut one: Chain, other: Chain) -> Chain {
        one.merge(other);
        one
    }

    proptest! {
        #[test]
        fn merge_is_associative_and_commutative(
            events in prop::collection::vec(event(), 3..40),
            cuts in (0.0..1.0_f64, 0.0..1.0_f64),
        ) {
            let at = |share: f64, of: usize| 1 + (share * (of - 2) as f64) as usize;
            let second = at(cuts.0, events.len()).max(2).min(events.len() - 1);
            let first = 1 + (cuts.1 * (second - 1) as f64) as usize;
            let first = first.min(second - 1).max(1);
            let (a, b, c) = (
                chain(&events[..first]),
                chain(&events[first..second]),
                chain(&events[second..]),
            );
            let left = merged(merged(a.clone(), b.clone()), c.clone());
            prop_assert_eq!(&left, &merged(a.clone(), merged(b.clone(), c.clone())));
            prop_assert_eq!(&merged(a.clone(), b.clone()), &merged(b.clone(), a.clone()));
            prop_assert_eq!(&left, &merged(c, merged(b, a)));
            prop_assert_eq!(&left, &chain(&events));
        }
    }
}

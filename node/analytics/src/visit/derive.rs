//! From the parts of a chain to its visits, and to what each hour's cells need of them.

use ringtail_proto::{HourStart, VisitorId};
use serde::{Deserialize, Serialize};
use smallvec::SmallVec;

use super::{
    chain::Chain,
    part::{Origin, PageView, Part},
    touch_sum::TouchKind,
};
use crate::{NO_VALUE, ValueId, VisitTotals, zone::HOUR_MS};

/// A visit spans at most this many consecutive hours: a part that begins as much later opens a new visit.
///
/// Counted in hours, not in milliseconds of events, so that the cut follows from the set of hours with events alone.
pub(crate) const VISIT_HOURS_MAX: i64 = 24;

/// Lasting or engaged this long makes a visit engaged.
const ENGAGED_MS_MIN: u64 = 10_000;

/// The visits of a chain: runs of its parts.
pub(crate) fn visits(chain: &Chain) -> impl Iterator<Item = Visit<'_>> {
    let mut rest = chain.parts.as_slice();
    std::iter::from_fn(move || {
        let first_hour = rest.first()?.hour;
        let end_hour = first_hour.0.saturating_add(VISIT_HOURS_MAX * HOUR_MS);
        let len = rest.partition_point(|part| part.hour.0 < end_hour);
        let (parts, later) = rest.split_at(len);
        rest = later;
        Some(Visit {
            visitor: chain.visitor(),
            parts,
        })
    })
}

/// The visit of a chain that has a part in an hour.
pub(crate) fn visit_of_hour(chain: &Chain, hour: HourStart) -> Option<Visit<'_>> {
    visits(chain).find(|visit| visit.parts.iter().any(|part| part.hour == hour))
}

/// Part of a chain of at most [`VISIT_HOURS_MAX`] hours.
#[derive(Clone, Copy)]
pub(crate) struct Visit<'a> {
    pub(crate) visitor: u64,
    pub(crate) parts: &'a [Box<Part>],
}

/// A visit's facts for the cells of one hour: stored beside the part, so that an hour folds from its own rows alone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct VisitFacts {
    pub(crate) visitor: u64,
    pub(crate) client: ValueId,
    pub(crate) place: ValueId,
    pub(crate) acquisition: ValueId,
    pub(crate) entry_page: ValueId,
    pub(crate) exit_page: ValueId,
    /// Present in the hour in which the visit starts.
    pub(crate) start: Option<StartFacts>,
    /// One for each touch of the part, in its order.
    pub(crate) touches: SmallVec<[TouchFacts; 4]>,
}

/// Totals of the visit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct StartFacts {
    pub(crate) events: u32,
    pub(crate) pageviews: u32,
    pub(crate) duration_ms: u64,
    pub(crate) is_bounce: bool,
    pub(crate) is_engaged: bool,
}

impl From<StartFacts> for VisitTotals {
    fn from(facts: StartFacts) -> Self {
        Self {
            pageviews: facts.pageviews,
            events: facts.events,
            duration_ms: facts.duration_ms,
            is_bounce: facts.is_bounce,
            is_engaged: facts.is_engaged,
        }
    }
}

/// What the rest of the visit says about one touch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct TouchFacts {
    pub(crate) is_first: bool,
    /// The visit's deepest scroll on the page plus one, in the hour of its first view; else 0.
    pub(crate) scroll_plus_one: u8,
}

impl Visit<'_> {
    /// The event that the visit has its attributes from; none when it has engagement only and does not count.
    pub(crate) fn origin(&self) -> Option<Origin> {
        self.parts.iter().find_map(|part| part.origin)
    }

    /// Time of the first event that is not engagement and of the last event.
    pub(crate) fn span(&self) -> Option<(i64, i64)> {
        let last_ms = self.parts.last()?.last_ms;
        Some((self.origin()?.time_ms, last_ms))
    }

    /// Sums over the whole visit.
    pub(crate) fn totals(&self) -> Option<StartFacts> {
        let (first_ms, last_ms) = self.span()?;
        let mut facts = StartFacts {
            events: 0,
            pageviews: 0,
            duration_ms: last_ms.abs_diff(first_ms),
            is_bounce: false,
            is_engaged: false,
        };
        let (mut interactions, mut goals, mut engaged_ms) = (0_u32, 0_u32, 0_u64);
        for part in self.parts {
            facts.events = facts.events.saturating_add(part.events);
            facts.pageviews = facts.pageviews.saturating_add(part.pageviews);
            interactions = interactions.saturating_add(part.interactions);
            goals = goals.saturating_add(part.goals);
            engaged_ms = engaged_ms.saturating_add(part.engaged_ms);
        }
        let engaged_or_lasting_ms = match engaged_ms {
            0 => facts.duration_ms,
            engaged_ms => engaged_ms,
        };
        facts.is_bounce = facts.pageviews == 1 && interactions == 0;
        facts.is_engaged =
            engaged_or_lasting_ms >= ENGAGED_MS_MIN || goals > 0 || facts.pageviews >= 2;
        Some(facts)
    }

    /// The facts for the part at a position; none when the visit does not count.
    pub(crate) fn facts(&self, position: usize, with_touches: bool) -> Option<VisitFacts> {
        let part = self.parts.get(position)?;
        let origin = self.origin()?;
        let is_start = part.origin == Some(origin);
        let entry = self.parts.iter().find_map(|part| part.entry);
        let exit = self.parts.iter().rev().find_map(|part| part.exit);
        let page = |view: Option<PageView>| view.map_or(NO_VALUE, |view| view.page);
        Some(VisitFacts {
            visitor: self.visitor,
            client: origin.client,
            place: origin.place,
            acquisition: origin.acquisition,
            entry_page: page(entry),
            exit_page: page(exit),
            start: if is_start { self.totals() } else { None },
            touches: match with_touches {
                true => self.touch_facts(position, part).collect(),
                false => SmallVec::new(),
            },
        })
    }

    fn touch_facts<'a>(
        &'a self,
        position: usize,
        part: &'a Part,
    ) -> impl Iterator<Item = TouchFacts> + 'a {
        part.touches.iter().map(move |touch| {
            let in_parts = |parts: &'a [Box<Part>]| {
                parts
                    .iter()
                    .filter_map(|part| part.find_touch(touch.kind, touch.value))
            };
            let earlier = self.parts.get(..position).unwrap_or_default();
            let is_first = touch.events > 0 && in_parts(earlier).all(|touch| touch.events == 0);
            let is_first_view = touch.kind == TouchKind::PAGE
                && touch.pageviews > 0
                && in_parts(earlier).all(|touch| touch.pageviews == 0);
            let deepest = || {
                in_parts(self.parts)
                    .map(|touch| touch.scroll_plus_one)
                    .max()
            };
            TouchFacts {
                is_first,
                scroll_plus_one: is_first_view.then(deepest).flatten().unwrap_or(0),
            }
        })
    }
}

impl VisitFacts {
    pub(crate) const fn visitor_id(&self) -> VisitorId {
        VisitorId(self.visitor)
    }
}

//! A chain's events of one local hour, summed.

use ringtail_proto::HourStart;
use serde::{Deserialize, Serialize};

use super::{
    applied_event::{AppliedEvent, EventKind},
    touch_sum::{TouchKind, TouchSum},
};
use crate::{Money, REMAINDER, ValueId, money};

/// Most values of event dimensions that one part keeps apart; further ones share a remainder per dimension.
pub(crate) const PART_TOUCHES_MAX: usize = 500;

/// The events of a visitor's chain in one local hour: a commutative monoid, so that neither order nor grouping of
/// arrival shows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Part {
    pub(crate) hour: HourStart,
    /// The earliest event of any kind.
    pub(crate) first: FirstEvent,
    /// Time of the latest event of any kind.
    pub(crate) last_ms: i64,
    /// The earliest event that is not engagement, with the visit's attributes.
    pub(crate) origin: Option<Origin>,
    /// The first page view.
    pub(crate) entry: Option<PageView>,
    /// The latest page view.
    pub(crate) exit: Option<PageView>,
    /// Events, engagement left out.
    pub(crate) events: u32,
    pub(crate) pageviews: u32,
    /// Interactive events that are no page views.
    pub(crate) interactions: u32,
    /// Goals met.
    pub(crate) goals: u32,
    pub(crate) engaged_ms: u64,
    pub(crate) revenue: Vec<Money>,
    /// In the order of (dimension, value).
    pub(crate) touches: Vec<TouchSum>,
}

/// The earliest event, and whose it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct FirstEvent {
    pub(crate) time_ms: i64,
    pub(crate) id: u64,
    pub(crate) visitor: u64,
}

/// The event that gives a visit its attributes. Ordered by time, then event id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct Origin {
    pub(crate) time_ms: i64,
    pub(crate) id: u64,
    pub(crate) client: ValueId,
    pub(crate) place: ValueId,
    pub(crate) acquisition: ValueId,
}

/// A page view. Ordered by time, then event id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct PageView {
    pub(crate) time_ms: i64,
    pub(crate) id: u64,
    pub(crate) page: ValueId,
}

impl Part {
    /// The part of a single event.
    pub(crate) fn of(hour: HourStart, event: &AppliedEvent) -> Self {
        let mut part = Self {
            hour,
            first: FirstEvent {
                time_ms: event.time_ms,
                id: event.id,
                visitor: event.visitor,
            },
            last_ms: event.time_ms,
            origin: None,
            entry: None,
            exit: None,
            events: 0,
            pageviews: 0,
            interactions: 0,
            goals: 0,
            engaged_ms: 0,
            revenue: Vec::new(),
            touches: Vec::with_capacity(3),
        };
        part.add(event);
        part
    }

    /// Adds an event of this hour.
    pub(crate) fn add(&mut self, event: &AppliedEvent) {
        self.first = self.first.min(FirstEvent {
            time_ms: event.time_ms,
            id: event.id,
            visitor: event.visitor,
        });
        self.last_ms = self.last_ms.max(event.time_ms);
        self.engaged_ms = self.engaged_ms.saturating_add(u64::from(event.engaged_ms));
        let is_counted = event.kind != EventKind::Engagement;
        let is_pageview = event.kind == EventKind::Pageview;
        if is_counted {
            self.add_counted(event);
        }
        if is_pageview {
            let view = PageView {
                time_ms: event.time_ms,
                id: event.id,
                page: event.page,
            };
            self.pageviews = self.pageviews.saturating_add(1);
            self.entry = earlier(self.entry, Some(view));
            self.exit = self.exit.max(Some(view));
        }
        if event.engaged_ms > 0 || event.scroll_plus_one > 0 {
            let touch = self.touch(TouchKind::PAGE, event.page);
            touch.engaged_ms = touch.engaged_ms.saturating_add(u64::from(event.engaged_ms));
            touch.scroll_plus_one = touch.scroll_plus_one.max(event.scroll_plus_one);
        }
    }

    fn add_counted(&mut self, event: &AppliedEvent) {
        let origin = Origin {
            time_ms: event.time_ms,
            id: event.id,
            client: event.client,
            place: event.place,
            acquisition: event.acquisition,
        };
        self.origin = earlier(self.origin, Some(origin));
        self.events = self.events.saturating_add(1);
        self.goals = self.goals.saturating_add(event.goals);
        if event.kind
            == (EventKind::Custom {
                is_interactive: true,
            })
        {
            self.interactions = self.interactions.saturating_add(1);
        }
        if let Some(money) = event.revenue {
            money::add(&mut self.revenue, money);
        }
        let fixed = [
            (TouchKind::PAGE, event.page),
            (TouchKind::HOSTNAME, event.hostname),
            (TouchKind::EVENT_NAME, event.name),
        ];
        for (kind, value) in fixed.into_iter().chain(event.values.iter().copied()) {
            let touch = self.touch(kind, value);
            touch.events = touch.events.saturating_add(1);
            if event.kind == EventKind::Pageview {
                touch.pageviews = touch.pageviews.saturating_add(1);
            }
            if let Some(money) = event.revenue {
                touch.add_revenue(money);
            }
        }
    }

    /// Adds all events of another part of the same hour.
    pub(crate) fn merge(&mut self, other: &Self) {
        self.first = self.first.min(other.first);
        self.last_ms = self.last_ms.max(other.last_ms);
        self.origin = earlier(self.origin, other.origin);
        self.entry = earlier(self.entry, other.entry);
        self.exit = self.exit.max(other.exit);
        self.events = self.events.saturating_add(other.events);
        self.pageviews = self.pageviews.saturating_add(other.pageviews);
        self.interactions = self.interactions.saturating_add(other.interactions);
        self.goals = self.goals.saturating_add(other.goals);
        self.engaged_ms = self.engaged_ms.saturating_add(other.engaged_ms);
        for money in &other.revenue {
            money::add(&mut self.revenue, *money);
        }
        for touch in &other.touches {
            self.touch(touch.kind, touch.value).merge(touch);
        }
    }

    /// The sums of a value, if the part has it.
    pub(crate) fn find_touch(&self, kind: TouchKind, value: ValueId) -> Option<&TouchSum> {
        let position = self.find(kind, value).ok()?;
        self.touches.get(position)
    }

    /// Replaces every position, for another dictionary or for a remainder.
    pub(crate) fn remap(&mut self, remap: &mut dyn Remap) {
        if let Some(origin) = &mut self.origin {
            origin.client = remap.client(origin.client);
            origin.place = remap.place(origin.place);
            origin.acquisition = remap.acquisition(origin.acquisition);
        }
        for view in [&mut self.entry, &mut self.exit].into_iter().flatten() {
            view.page = remap.text(TouchKind::PAGE, view.page);
        }
        let touches = std::mem::take(&mut self.touches);
        self.touches.reserve(touches.len());
        for mut touch in touches {
            touch.value = remap.text(touch.kind, touch.value);
            match self.find(touch.kind, touch.value) {
                Ok(position) => {
                    if let Some(known) = self.touches.get_mut(position) {
                        known.merge(&touch);
                    }
                }
                Err(position) => self.touches.insert(position, touch),
            }
        }
    }

    fn find(&self, kind: TouchKind, value: ValueId) -> Result<usize, usize> {
        self.touches
            .binary_search_by_key(&(kind, value), TouchSum::key)
    }

    fn touch(&mut self, kind: TouchKind, value: ValueId) -> &mut TouchSum {
        let position = match self.find(kind, value) {
            Ok(position) => position,
            Err(position) if self.touches.len() < PART_TOUCHES_MAX => {
                self.touches.insert(position, TouchSum::new(kind, value));
                position
            }
            Err(_) => match self.find(kind, REMAINDER) {
                Ok(position) => position,
                Err(position) => {
                    self.touches
                        .insert(position, TouchSum::new(kind, REMAINDER));
                    position
                }
            },
        };
        self.touches
            .get_mut(position)
            .expect("the position was found or filled above")
    }
}

/// Another position for each value.
pub(crate) trait Remap {
    fn text(&mut self, kind: TouchKind, value: ValueId) -> ValueId;
    fn client(&mut self, value: ValueId) -> ValueId;
    fn place(&mut self, value: ValueId) -> ValueId;
    fn acquisition(&mut self, value: ValueId) -> ValueId;
}

fn earlier<T: Ord>(one: Option<T>, other: Option<T>) -> Option<T> {
    match (one, other) {
        (Some(one), Some(other)) => Some(one.min(other)),
        (one, other) => one.or(other),
    }
}

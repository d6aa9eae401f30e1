//! An event as the state knows it: checked, its time decided, its values interned.

use serde::{Deserialize, Serialize};
use smallvec::SmallVec;

use super::touch_sum::TouchKind;
use crate::{Money, ValueId};

/// What an event does to a visit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum EventKind {
    Pageview,
    /// Joins or extends a visit, never makes one.
    Engagement,
    Custom {
        is_interactive: bool,
    },
}

/// An accepted event.
#[derive(Clone, Debug)]
pub(crate) struct AppliedEvent {
    pub(crate) time_ms: i64,
    /// Hash of the event id: breaks ties of time.
    pub(crate) id: u64,
    pub(crate) visitor: u64,
    /// The visitor under the salt of the day before; 0 when there is none.
    pub(crate) visitor_previous: u64,
    pub(crate) kind: EventKind,
    pub(crate) name: ValueId,
    pub(crate) page: ValueId,
    pub(crate) hostname: ValueId,
    pub(crate) client: ValueId,
    pub(crate) place: ValueId,
    pub(crate) acquisition: ValueId,
    pub(crate) scroll_plus_one: u8,
    pub(crate) engaged_ms: u32,
    /// Goals met and properties that have cells.
    pub(crate) values: SmallVec<[(TouchKind, ValueId); 2]>,
    /// How many of the values are goals.
    pub(crate) goals: u32,
    pub(crate) revenue: Option<Money>,
}

impl AppliedEvent {
    /// The visitor's ids, without the absent one.
    pub(crate) fn ids(&self) -> impl Iterator<Item = u64> {
        let previous = (self.visitor_previous != 0 && self.visitor_previous != self.visitor)
            .then_some(self.visitor_previous);
        std::iter::once(self.visitor).chain(previous)
    }
}

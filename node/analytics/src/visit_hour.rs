//! One visit's part in one local hour: the row from which every cell is folded.

use ringtail_proto::{CurrencyCode, VisitorId};

use crate::Dimension;

/// Position of a value in the dictionary that goes with the rows.
pub type ValueId = u32;

/// Stands for "no value" and for values folded into the visible remainder.
pub const NO_VALUE: ValueId = u32::MAX;

/// The remainder: values that the cap on distinct values folded together.
pub const REMAINDER: ValueId = u32::MAX - 1;

/// A visit's part in one local hour, with the facts about the whole visit that this hour's cells need.
///
/// Borrowed, so that hot state and stored rows fold through the same code.
#[derive(Clone, Copy, Debug)]
pub struct VisitHour<'a> {
    /// The visit's visitor.
    pub visitor: VisitorId,
    /// Events in this hour, engagement left out.
    pub events: u32,
    /// Page views in this hour.
    pub pageviews: u32,
    /// Facts about the whole visit, in the hour in which it starts; visits count there and nowhere else.
    pub start: Option<VisitTotals>,
    /// Position of the visit's client among the clients of the dictionary.
    pub client: ValueId,
    /// Position of the visit's place.
    pub place: ValueId,
    /// Position of the visit's acquisition.
    pub acquisition: ValueId,
    /// Page of the visit's first page view; `NO_VALUE` when it has none.
    pub entry_page: ValueId,
    /// Page of the visit's latest page view; `NO_VALUE` when it has none.
    pub exit_page: ValueId,
    /// Money of this hour, at most one entry for a currency.
    pub revenue: &'a [Money],
    /// What the visit's events of this hour had as event dimensions, one entry for each (dimension, value).
    pub touches: &'a [Touch],
}

/// Facts about a whole visit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct VisitTotals {
    /// Page views of the visit.
    pub pageviews: u32,
    /// Events of the visit, engagement left out.
    pub events: u32,
    /// Last minus first event.
    pub duration_ms: u64,
    /// One page view and no interactive event.
    pub is_bounce: bool,
    /// At least 10 s engaged (else lasting), or a goal, or at least two page views.
    pub is_engaged: bool,
}

/// What one visit's events of one hour did to one value of an event dimension.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Touch {
    /// One of the dimensions of events.
    pub dimension: Dimension,
    /// The value.
    pub value: ValueId,
    /// Events with this value, engagement left out.
    pub events: u32,
    /// Page views with this value.
    pub pageviews: u32,
    /// The visit has this value for the first time in this hour: it counts as a visit of the value here.
    pub is_first: bool,
    /// Pages only: the deepest scroll of the whole visit on this page, in the hour of the first view.
    pub scroll_depth: Option<u8>,
    /// Pages only: engaged time on the page in this hour.
    pub engaged_ms: u64,
    /// Money of events with this value.
    pub revenue: Vec<Money>,
}

/// An amount in one currency.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, serde::Deserialize,
)]
pub struct Money {
    /// ISO 4217.
    pub currency: CurrencyCode,
    /// Millionths of the currency unit.
    pub amount_micros: i64,
}

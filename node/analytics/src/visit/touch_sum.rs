//! What one visit's events of one hour did to one value of an event dimension, as a sum.

use serde::{Deserialize, Serialize};

use crate::{Dimension, Money, ValueId, money};

/// A dimension of events in one byte; the order is the order of touches in a part.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub(crate) struct TouchKind(pub(crate) u8);

impl TouchKind {
    pub(crate) const PAGE: Self = Self(0);
    pub(crate) const HOSTNAME: Self = Self(1);
    pub(crate) const EVENT_NAME: Self = Self(2);
    pub(crate) const GOAL: Self = Self(3);

    pub(crate) const fn property(slot: u8) -> Self {
        Self(4 + slot)
    }

    pub(crate) const fn dimension(self) -> Dimension {
        match self.0 {
            0 => Dimension::Page,
            1 => Dimension::Hostname,
            2 => Dimension::EventName,
            3 => Dimension::Goal,
            slot => Dimension::Property(slot - 4),
        }
    }
}

/// Sums that only grow, so that they may be added in any order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct TouchSum {
    pub(crate) kind: TouchKind,
    pub(crate) value: ValueId,
    /// Events with this value, engagement left out.
    pub(crate) events: u32,
    pub(crate) pageviews: u32,
    /// Deepest scroll in percent plus one; 0 when there is none.
    pub(crate) scroll_plus_one: u8,
    pub(crate) engaged_ms: u64,
    /// Thin: nearly all touches have none.
    pub(crate) revenue: Option<Box<Revenue>>,
}

/// Money in the order of currencies.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Revenue {
    sums: Vec<Money>,
}

impl TouchSum {
    pub(crate) const fn new(kind: TouchKind, value: ValueId) -> Self {
        Self {
            kind,
            value,
            events: 0,
            pageviews: 0,
            scroll_plus_one: 0,
            engaged_ms: 0,
            revenue: None,
        }
    }

    pub(crate) const fn key(&self) -> (TouchKind, ValueId) {
        (self.kind, self.value)
    }

    pub(crate) fn merge(&mut self, other: &Self) {
        self.events = self.events.saturating_add(other.events);
        self.pageviews = self.pageviews.saturating_add(other.pageviews);
        self.scroll_plus_one = self.scroll_plus_one.max(other.scroll_plus_one);
        self.engaged_ms = self.engaged_ms.saturating_add(other.engaged_ms);
        for money in other.revenue() {
            self.add_revenue(*money);
        }
    }

    pub(crate) fn add_revenue(&mut self, money: Money) {
        money::add(&mut self.revenue.get_or_insert_default().sums, money);
    }

    pub(crate) fn revenue(&self) -> &[Money] {
        self.revenue.as_ref().map_or(&[], |revenue| &revenue.sums)
    }
}

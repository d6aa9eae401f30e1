//! One cell: the sums and the distinct visitors of one value in one span of time.

use ringtail_proto::CurrencyCode;
use smallvec::SmallVec;

use super::uniques::{Precision, Uniques};
use crate::{Money, VisitTotals};

/// Sums over one value of one dimension (DESIGN §5 defines each).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cell {
    /// Events, engagement left out.
    pub events: u64,
    /// Page views.
    pub pageviews: u64,
    /// Visits that start here; in an event dimension: visits that have the value here for the first time.
    pub visits: u64,
    /// Visits that start here, by the visit's own value: the visits behind the five sums below. In the page dimension
    /// these are the visits that enter by the page; in other event dimensions there are none.
    pub entrances: u64,
    /// Entrances with one page view and no interactive event.
    pub bounces: u64,
    /// Last minus first event, over entrances.
    pub duration_ms: u64,
    /// Page views over entrances, in whichever hour they fell.
    pub visit_pageviews: u64,
    /// Entrances that became engaged visits.
    pub engaged_visits: u64,
    /// Sum of deepest scrolls in percent, over (visit, page).
    pub scroll_sum: u64,
    /// The number of (visit, page) pairs behind `scroll_sum`.
    pub scroll_count: u64,
    /// Engaged time on the page.
    pub engaged_ms: u64,
    /// Money, sorted by currency, at most one entry for each.
    pub revenue: SmallVec<[RevenueSum; 1]>,
    /// Visitors with at least one event (engagement left out).
    pub visitors: Uniques,
}

/// A sum of money in one currency; wide enough that no number of events overflows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RevenueSum {
    /// ISO 4217.
    pub currency: CurrencyCode,
    /// Millionths of the currency unit.
    pub amount_micros: i128,
}

impl Cell {
    /// A cell over nothing.
    #[must_use]
    pub const fn new(precision: Precision) -> Self {
        Self {
            events: 0,
            pageviews: 0,
            visits: 0,
            entrances: 0,
            bounces: 0,
            duration_ms: 0,
            visit_pageviews: 0,
            engaged_visits: 0,
            scroll_sum: 0,
            scroll_count: 0,
            engaged_ms: 0,
            revenue: SmallVec::new_const(),
            visitors: Uniques::new(precision),
        }
    }

    /// Adds another cell: associative and commutative.
    pub fn merge(&mut self, other: &Self) {
        add(&mut self.events, other.events);
        add(&mut self.pageviews, other.pageviews);
        add(&mut self.visits, other.visits);
        add(&mut self.entrances, other.entrances);
        add(&mut self.bounces, other.bounces);
        add(&mut self.duration_ms, other.duration_ms);
        add(&mut self.visit_pageviews, other.visit_pageviews);
        add(&mut self.engaged_visits, other.engaged_visits);
        add(&mut self.scroll_sum, other.scroll_sum);
        add(&mut self.scroll_count, other.scroll_count);
        add(&mut self.engaged_ms, other.engaged_ms);
        for sum in &other.revenue {
            self.add_sum(*sum);
        }
        self.visitors.merge(&other.visitors);
    }

    pub(super) fn add_entrance(&mut self, totals: &VisitTotals) {
        self.entrances += 1;
        self.bounces += u64::from(totals.is_bounce);
        self.duration_ms += totals.duration_ms;
        self.visit_pageviews += u64::from(totals.pageviews);
        self.engaged_visits += u64::from(totals.is_engaged);
    }

    pub(super) fn add_money(&mut self, amounts: &[Money]) {
        for money in amounts {
            self.add_sum(RevenueSum {
                currency: money.currency,
                amount_micros: i128::from(money.amount_micros),
            });
        }
    }

    fn add_sum(&mut self, sum: RevenueSum) {
        let place = self
            .revenue
            .binary_search_by_key(&sum.currency, |known| known.currency);
        match place {
            Ok(found) => {
                if let Some(known) = self.revenue.get_mut(found) {
                    known.amount_micros += sum.amount_micros;
                }
            }
            Err(missing) => self.revenue.insert(missing, sum),
        }
    }
}

/// A sum at its end stays there: only a damaged page can bring it so far.
fn add(sum: &mut u64, more: u64) {
    *sum = sum.saturating_add(more);
}

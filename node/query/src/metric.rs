//! What can be counted, and how each count comes from a cell (DESIGN §5).

use ringtail_analytics::Cell;
use serde::{Serialize, Serializer};

use crate::money::MoneyValue;

/// Something that can be counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Metric {
    Visitors,
    Visits,
    Pageviews,
    ViewsPerVisit,
    BounceRate,
    VisitDuration,
    Events,
    ScrollDepth,
    Percentage,
    ConversionRate,
    AverageRevenue,
    TotalRevenue,
    TimeOnPage,
    EngagedVisits,
}

/// The number of a metric in one row.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum MetricValue {
    /// Nothing to divide by, or never measured.
    Absent,
    Whole(u64),
    Real(f64),
    /// One currency gives an object, several give a list: they are never summed.
    Money(Vec<MoneyValue>),
}

/// What a row's rates are shares of.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Shares {
    range: Whole,
    bucket: Whole,
}

/// A number of visitors and its relative standard error.
#[derive(Clone, Copy, Debug, Default)]
struct Whole {
    visitors: u64,
    error: f64,
}

impl Shares {
    /// Shares of the site's visitors in the whole range and in the row's bucket of time, where they are needed.
    pub(crate) fn new(range: Option<&Cell>, bucket: Option<&Cell>) -> Self {
        let whole = |cell: Option<&Cell>| {
            cell.map_or_else(Whole::default, |cell| Whole {
                visitors: cell.visitors.estimate(),
                error: cell.visitors.relative_error(),
            })
        };
        Self {
            range: whole(range),
            bucket: whole(bucket),
        }
    }
}

impl Metric {
    pub(crate) const ALL: [Self; 14] = [
        Self::Visitors,
        Self::Visits,
        Self::Pageviews,
        Self::ViewsPerVisit,
        Self::BounceRate,
        Self::VisitDuration,
        Self::Events,
        Self::ScrollDepth,
        Self::Percentage,
        Self::ConversionRate,
        Self::AverageRevenue,
        Self::TotalRevenue,
        Self::TimeOnPage,
        Self::EngagedVisits,
    ];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Visitors => "visitors",
            Self::Visits => "visits",
            Self::Pageviews => "pageviews",
            Self::ViewsPerVisit => "views_per_visit",
            Self::BounceRate => "bounce_rate",
            Self::VisitDuration => "visit_duration",
            Self::Events => "events",
            Self::ScrollDepth => "scroll_depth",
            Self::Percentage => "percentage",
            Self::ConversionRate => "conversion_rate",
            Self::AverageRevenue => "average_revenue",
            Self::TotalRevenue => "total_revenue",
            Self::TimeOnPage => "time_on_page",
            Self::EngagedVisits => "engaged_visits",
        }
    }

    pub(crate) fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|metric| metric.name() == name)
    }

    /// True for metrics over visits that start in the range: no event but an entry page has them.
    pub(crate) const fn is_of_entrances(self) -> bool {
        matches!(
            self,
            Self::ViewsPerVisit | Self::BounceRate | Self::VisitDuration | Self::EngagedVisits
        )
    }

    /// True for metrics that minutes and realtime keep.
    pub(crate) const fn is_of_minutes(self) -> bool {
        matches!(
            self,
            Self::Visitors | Self::Pageviews | Self::Events | Self::Percentage
        )
    }

    /// True when the metric is a percentage, whose change is a difference of points.
    pub(crate) const fn is_rate(self) -> bool {
        matches!(
            self,
            Self::BounceRate | Self::ConversionRate | Self::Percentage
        )
    }

    /// True when the metric needs the visitors of the whole site beside the row's cell.
    pub(crate) const fn is_share(self) -> bool {
        matches!(self, Self::Percentage | Self::ConversionRate)
    }

    /// The metric of a cell.
    pub(crate) fn of(self, cell: &Cell, shares: &Shares) -> MetricValue {
        match self {
            Self::Visitors => MetricValue::Whole(cell.visitors.estimate()),
            Self::Visits => MetricValue::Whole(cell.visits),
            Self::Pageviews => MetricValue::Whole(cell.pageviews),
            Self::Events => MetricValue::Whole(cell.events),
            Self::EngagedVisits => MetricValue::Whole(cell.engaged_visits),
            Self::ViewsPerVisit => {
                MetricValue::Real(rounded(ratio(cell.visit_pageviews, cell.entrances), 2))
            }
            Self::BounceRate => whole(100.0 * ratio(cell.bounces, cell.entrances)),
            Self::VisitDuration => whole(ratio(cell.duration_ms, cell.entrances) / 1000.0),
            Self::ScrollDepth if cell.scroll_count == 0 => MetricValue::Absent,
            Self::ScrollDepth => whole(ratio(cell.scroll_sum, cell.scroll_count)),
            Self::TimeOnPage if cell.engaged_ms == 0 || cell.visits == 0 => MetricValue::Absent,
            Self::TimeOnPage => whole(ratio(cell.engaged_ms, cell.visits) / 1000.0),
            Self::Percentage => share(cell.visitors.estimate(), shares.range.visitors),
            Self::ConversionRate => share(cell.visitors.estimate(), shares.bucket.visitors),
            Self::TotalRevenue => MetricValue::Money(money(cell, 1)),
            Self::AverageRevenue => MetricValue::Money(money(cell, cell.events.max(1))),
        }
    }

    /// The standard error of the metric as a share of its value; 0 when it is exact.
    pub(crate) fn relative_error(self, cell: &Cell, shares: &Shares) -> f64 {
        let part = cell.visitors.relative_error();
        match self {
            Self::Visitors => part,
            Self::Percentage => part.hypot(shares.range.error),
            Self::ConversionRate => part.hypot(shares.bucket.error),
            _ => 0.0,
        }
    }
}

impl MetricValue {
    /// The number by which rows are ordered and changes are computed.
    pub(crate) fn number(&self) -> Option<f64> {
        match self {
            Self::Absent => None,
            Self::Whole(value) => Some(*value as f64),
            Self::Real(value) => Some(*value),
            Self::Money(amounts) => match amounts.as_slice() {
                [only] => Some(only.value),
                _ => None,
            },
        }
    }
}

impl Serialize for MetricValue {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Absent => serializer.serialize_none(),
            Self::Whole(value) => serializer.serialize_u64(*value),
            Self::Real(value) => serializer.serialize_f64(*value),
            Self::Money(amounts) => match amounts.as_slice() {
                [] => serializer.serialize_none(),
                [only] => only.serialize(serializer),
                several => several.serialize(serializer),
            },
        }
    }
}

fn money(cell: &Cell, divisor: u64) -> Vec<MoneyValue> {
    let sums = cell.revenue.iter();
    sums.map(|sum| MoneyValue::new(sum.currency, sum.amount_micros, divisor))
        .collect()
}

fn ratio(part: u64, of: u64) -> f64 {
    if of == 0 {
        0.0
    } else {
        part as f64 / of as f64
    }
}

/// A share in percent. An estimated part may come out above its whole; a share never does.
fn share(part: u64, of: u64) -> MetricValue {
    MetricValue::Real(rounded(100.0 * ratio(part, of), 2).min(100.0))
}

fn whole(value: f64) -> MetricValue {
    MetricValue::Whole(value.round() as u64)
}

fn rounded(value: f64, decimals: i32) -> f64 {
    let scale = 10_f64.powi(decimals);
    (value * scale).round() / scale
}

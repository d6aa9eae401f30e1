//! A query whose every word is understood: what remains is to count.

use jiff::civil::Date;
use ringtail_analytics::{DAY_MS, Dimension, RecentTable};
use ringtail_proto::UnixMillis;

use crate::{
    buckets::{Bucket, buckets, suitable_interval},
    calendar::Calendar,
    comparison::comparison_range,
    dimension::{Interval, QueryDimension, ValueDimension},
    error::{QueryError, invalid},
    metric::Metric,
    period::{Now, Period, Range, parse_date},
    request::{Include, Pagination, QueryRequest},
    source::{SiteInfo, SiteSource},
};

/// Minutes are kept for three days.
const MINUTES_KEPT_MS: i64 = 3 * DAY_MS;

/// A validated query.
pub(crate) struct Plan {
    pub(crate) calendar: Calendar,
    pub(crate) metrics: Vec<Metric>,
    pub(crate) dimensions: Vec<QueryDimension>,
    /// The dimension beside time.
    pub(crate) value: Option<ValueDimension>,
    pub(crate) interval: Option<Interval>,
    pub(crate) main: Span,
    pub(crate) comparison: Option<Span>,
    pub(crate) order: Vec<OrderKey>,
    pub(crate) include: Include,
    pub(crate) pagination: Pagination,
    /// The instant at which the question was asked.
    pub(crate) now: UnixMillis,
}

/// A range, its buckets, and where its numbers come from.
pub(crate) struct Span {
    pub(crate) range: Range,
    /// The range itself when time is no dimension.
    pub(crate) buckets: Vec<Bucket>,
    pub(crate) grain: Grain,
}

/// From what a span is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Grain {
    /// Cells of hours, days and months.
    Hours,
    /// The site's minutes.
    Minutes,
    /// Pages, sources or countries of the last minutes.
    Recent(RecentTable),
}

/// By what rows are ordered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct OrderKey {
    pub(crate) by: OrderBy,
    pub(crate) is_descending: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum OrderBy {
    Time,
    Value,
    /// Position among the metrics.
    Metric(usize),
}

impl Plan {
    pub(crate) fn new(
        request: &QueryRequest,
        site: &SiteInfo,
        source: &dyn SiteSource,
        now: UnixMillis,
    ) -> Result<Self, QueryError> {
        if !request.filters.is_empty() {
            return Err(QueryError::NotBuilt("filters".to_owned()));
        }
        let calendar = Calendar::new(source.timezone().unwrap_or(&site.timezone))?;
        let dimensions = parse_dimensions(&request.dimensions, source)?;
        let value = dimensions.iter().find_map(|dimension| match dimension {
            QueryDimension::Value(value) => Some(value.clone()),
            QueryDimension::Time(_) => None,
        });
        let goes_with = |metric| obstacle(metric, &dimensions, value.as_ref());
        let metrics = parse_metrics(&request.metrics, goes_with)?;

        let period = Period::parse(&request.date_range)?;
        let range = period.resolve(&Now {
            calendar: &calendar,
            zone: source.zone(),
            now,
            date: parse_today(request.date.as_deref())?,
            first: source.first_hour().map(|hour| UnixMillis(hour.0)),
        })?;
        let interval = dimensions.iter().find_map(|dimension| match dimension {
            QueryDimension::Time(interval) => {
                Some(interval.unwrap_or_else(|| suitable_interval(&range)))
            }
            QueryDimension::Value(_) => None,
        });
        let other_range = match &request.include.compare {
            Some(compare) => Some(comparison_range(compare, period, &range, &calendar)?),
            None => None,
        };
        let span = |range: Range| -> Result<Span, QueryError> {
            let grain = choose_grain(&range, interval, value.as_ref(), &metrics, source, now)?;
            Ok(Span {
                range,
                buckets: cut(&range, interval, &calendar, source)?,
                grain,
            })
        };
        Ok(Self {
            main: span(range)?,
            comparison: other_range.map(span).transpose()?,
            order: parse_order(request, &metrics, &dimensions, interval)?,
            calendar,
            metrics,
            dimensions,
            value,
            interval,
            include: request.include.clone(),
            pagination: request.pagination,
            now,
        })
    }
}

fn cut(
    range: &Range,
    interval: Option<Interval>,
    calendar: &Calendar,
    source: &dyn SiteSource,
) -> Result<Vec<Bucket>, QueryError> {
    match interval {
        Some(interval) => buckets(range, interval, calendar, source.zone()),
        None => Ok(vec![Bucket {
            start: range.start,
            end: range.end,
            label: String::new(),
        }]),
    }
}

fn parse_metrics(
    names: &[String],
    obstacle: impl Fn(Metric) -> Option<String>,
) -> Result<Vec<Metric>, QueryError> {
    if names.is_empty() {
        return invalid("metrics is empty");
    }
    if let [name] = names
        && name == QueryRequest::ALL_METRICS
    {
        let all = Metric::ALL.into_iter();
        return Ok(all.filter(|metric| obstacle(*metric).is_none()).collect());
    }
    if names.len() > QueryRequest::METRICS_MAX {
        return invalid(format!("more than {} metrics", QueryRequest::METRICS_MAX));
    }
    let mut metrics = Vec::with_capacity(names.len());
    for name in names {
        if matches!(name.as_str(), "group_conversion_rate" | "exit_rate") {
            return Err(QueryError::NotBuilt(format!("metric {name:?}")));
        }
        let Some(metric) = Metric::parse(name) else {
            return invalid(format!("metric {name:?} is not known"));
        };
        if metrics.contains(&metric) {
            return invalid(format!("metric {name:?} is named twice"));
        }
        if let Some(why) = obstacle(metric) {
            return invalid(why);
        }
        metrics.push(metric);
    }
    Ok(metrics)
}

fn parse_dimensions(
    names: &[String],
    source: &dyn SiteSource,
) -> Result<Vec<QueryDimension>, QueryError> {
    // Hostile lists are refused before any of their names is looked at.
    if names.len() > 8 {
        return Err(QueryError::NotBuilt("more than two dimensions".to_owned()));
    }
    let mut dimensions: Vec<QueryDimension> = Vec::with_capacity(names.len());
    for name in names {
        dimensions.push(QueryDimension::parse(name, source)?);
    }
    let times = dimensions
        .iter()
        .filter(|dimension| matches!(dimension, QueryDimension::Time(_)))
        .count();
    if times > 1 {
        return invalid("only one dimension of time is possible");
    }
    if dimensions.len() - times > 1 {
        return Err(QueryError::NotBuilt(
            "several dimensions beside time in one query".to_owned(),
        ));
    }
    Ok(dimensions)
}

/// Why a metric does not go with the dimensions, by Plausible's rules; none when it does.
fn obstacle(
    metric: Metric,
    dimensions: &[QueryDimension],
    value: Option<&ValueDimension>,
) -> Option<String> {
    let dimension = value.map_or(Dimension::Total, |value| value.dimension);
    let name = metric.name();
    if metric.is_of_entrances() && dimension.is_of_events() && dimension != Dimension::Page {
        return Some(format!(
            "metric {name:?} does not go with dimensions of events except event:page"
        ));
    }
    let needed = match metric {
        Metric::ScrollDepth | Metric::TimeOnPage => {
            (dimension != Dimension::Page, "dimension event:page")
        }
        Metric::ConversionRate | Metric::AverageRevenue => {
            (dimension != Dimension::Goal, "dimension event:goal")
        }
        Metric::Percentage => (dimensions.is_empty(), "a dimension"),
        _ => (false, ""),
    };
    let (is_missing, needs) = needed;
    is_missing.then(|| format!("metric {name:?} needs {needs}"))
}

fn choose_grain(
    range: &Range,
    interval: Option<Interval>,
    value: Option<&ValueDimension>,
    metrics: &[Metric],
    source: &dyn SiteSource,
    now: UnixMillis,
) -> Result<Grain, QueryError> {
    let is_of_hours = range.is_of_hours(source.zone());
    if is_of_hours && interval != Some(Interval::Minute) {
        return Ok(Grain::Hours);
    }
    if range.start.0 < now.0 - MINUTES_KEPT_MS {
        return invalid(if is_of_hours {
            "minutes are kept for 72 hours: take time:hour or a later range"
        } else {
            "minutes are kept for 72 hours: a range that starts earlier has to begin and end at a full hour of the \
             site's zone"
        });
    }
    if let Some(metric) = metrics.iter().find(|metric| !metric.is_of_minutes()) {
        return invalid(format!(
            "metric {:?} is kept by hour: take a range that begins and ends at a full hour of the site's zone, and no \
             time:minute",
            metric.name()
        ));
    }
    match value {
        None => Ok(Grain::Minutes),
        Some(value) if !range.is_realtime || interval.is_some() => invalid(format!(
            "{} is kept by hour: take a range that begins and ends at a full hour of the site's zone, and no \
             time:minute",
            value.name
        )),
        Some(value) => match value.dimension {
            _ if metrics.contains(&Metric::Pageviews) => {
                invalid("realtime reports by page, source or country count visitors and events")
            }
            Dimension::Page => Ok(Grain::Recent(RecentTable::Pages)),
            Dimension::Source => Ok(Grain::Recent(RecentTable::Sources)),
            Dimension::Country => Ok(Grain::Recent(RecentTable::Countries)),
            _ => invalid(format!(
                "realtime reports go with event:page, visit:source and visit:country, not with {}",
                value.name
            )),
        },
    }
}

fn parse_order(
    request: &QueryRequest,
    metrics: &[Metric],
    dimensions: &[QueryDimension],
    interval: Option<Interval>,
) -> Result<Vec<OrderKey>, QueryError> {
    let Some(asked) = &request.order_by else {
        return Ok(default_order(interval));
    };
    let mut order = Vec::new();
    for (name, direction) in asked {
        let is_descending = match direction.as_str() {
            "asc" => false,
            "desc" => true,
            _ => {
                return invalid(format!(
                    "order_by direction {direction:?} is not asc or desc"
                ));
            }
        };
        let metric = metrics.iter().position(|metric| metric.name() == name);
        let dimension = dimensions.iter().find(|dimension| dimension.name() == name);
        let by = match (metric, dimension) {
            (Some(position), _) => OrderBy::Metric(position),
            (None, Some(QueryDimension::Time(_))) => OrderBy::Time,
            (None, Some(QueryDimension::Value(_))) => OrderBy::Value,
            (None, None) => {
                return invalid(format!(
                    "order_by {name:?} is neither a metric nor a dimension of the query"
                ));
            }
        };
        if order.iter().any(|known: &OrderKey| known.by == by) {
            return invalid(format!("order_by names {name:?} twice"));
        }
        order.push(OrderKey { by, is_descending });
    }
    if order.is_empty() {
        return Ok(default_order(interval));
    }
    Ok(order)
}

/// Time ascending, then the first metric descending.
fn default_order(interval: Option<Interval>) -> Vec<OrderKey> {
    let time = interval.map(|_| OrderKey {
        by: OrderBy::Time,
        is_descending: false,
    });
    let metric = OrderKey {
        by: OrderBy::Metric(0),
        is_descending: true,
    };
    time.into_iter().chain([metric]).collect()
}

fn parse_today(date: Option<&str>) -> Result<Option<Date>, QueryError> {
    let Some(text) = date else {
        return Ok(None);
    };
    match parse_date(text) {
        Some(date) => Ok(Some(date)),
        None => invalid(format!("date {text:?} is not a date like 2024-01-31")),
    }
}

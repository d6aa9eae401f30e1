//! The range that a report is compared with, and how a change is told.

use jiff::ToSpan;
use ringtail_proto::UnixMillis;
use serde_json::Value;

use crate::{
    calendar::Calendar,
    error::{QueryError, invalid},
    metric::{Metric, MetricValue},
    period::{Period, Range, parse_date, shifted},
};

/// The range to compare with.
pub(crate) fn comparison_range(
    compare: &Value,
    period: Period,
    range: &Range,
    calendar: &Calendar,
) -> Result<Range, QueryError> {
    if range.is_realtime || period == Period::All {
        return invalid("include.compare does not go with realtime, realtime_30m and all");
    }
    match compare {
        Value::String(name) if name == "previous_period" => previous_period(range, calendar),
        Value::String(name) if name == "year_over_year" => year_before(range, calendar),
        Value::Array(ends) => match ends.as_slice() {
            [Value::String(first), Value::String(last)] => {
                match (parse_date(first), parse_date(last)) {
                    (Some(first), Some(last)) if first <= last => {
                        Range::of_dates(calendar, first, last)
                    }
                    _ => invalid("include.compare needs two dates, the earlier first"),
                }
            }
            _ => invalid("include.compare as a list needs two dates"),
        },
        _ => invalid("include.compare is previous_period, year_over_year or [date, date]"),
    }
}

/// As many days, or as much time, immediately before.
fn previous_period(range: &Range, calendar: &Calendar) -> Result<Range, QueryError> {
    let Some((first, last)) = range.dates else {
        let length = range.end.0 - range.start.0;
        return Ok(Range::of_instants(
            UnixMillis(range.start.0 - length),
            range.start,
        ));
    };
    let days = (last - first).get_days() + 1;
    let before = shifted(first, -1.days())?;
    Range::of_dates(calendar, shifted(first, -days.days())?, before)
}

fn year_before(range: &Range, calendar: &Calendar) -> Result<Range, QueryError> {
    match range.dates {
        Some((first, last)) => Range::of_dates(
            calendar,
            shifted(first, -1.years())?,
            shifted(last, -1.years())?,
        ),
        None => invalid("include.compare year_over_year needs a range of whole days"),
    }
}

/// The change of a metric: points for rates, else whole percent of the earlier value. None when it cannot be told.
pub(crate) fn change(metric: Metric, before: &MetricValue, after: &MetricValue) -> MetricValue {
    let (Some(before), Some(after)) = (before.number(), after.number()) else {
        return MetricValue::Absent;
    };
    if metric.is_rate() {
        return MetricValue::Real(((after - before) * 100.0).round() / 100.0);
    }
    if before == 0.0 {
        return MetricValue::Real(if after > 0.0 { 100.0 } else { 0.0 });
    }
    MetricValue::Real(((after - before) / before * 100.0).round())
}

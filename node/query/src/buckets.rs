//! A range cut into minutes, hours, days, weeks or months of the site's zone.

use jiff::{ToSpan, civil::Date};
use ringtail_analytics::{DAY_MS, HOUR_MS, Zone};
use ringtail_proto::UnixMillis;

use crate::{
    calendar::Calendar,
    dimension::Interval,
    error::{QueryError, invalid},
    period::{MINUTE_MS, Range, shifted},
};

/// A part of a range, with the label that answers show.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Bucket {
    pub(crate) start: UnixMillis,
    /// The first instant after it.
    pub(crate) end: UnixMillis,
    /// `2024-01-01` for day, week (its Monday) and month (its first day), `2024-01-01 13:00:00` for hour and minute.
    /// The two hours that a clock shows twice are two buckets of the same label.
    pub(crate) label: String,
}

/// Most buckets of one series.
pub(crate) const BUCKETS_MAX: usize = 10_000;

/// The interval that `time` stands for, as Plausible chooses it.
pub(crate) fn suitable_interval(range: &Range) -> Interval {
    let length = range.end.0 - range.start.0;
    if range.is_realtime || length <= 2 * HOUR_MS {
        Interval::Minute
    } else if length <= 48 * HOUR_MS {
        Interval::Hour
    } else if length <= 40 * DAY_MS {
        Interval::Day
    } else if length <= 52 * 7 * DAY_MS {
        Interval::Week
    } else {
        Interval::Month
    }
}

/// Cuts a range; the first and the last bucket end where the range does.
pub(crate) fn buckets(
    range: &Range,
    interval: Interval,
    calendar: &Calendar,
    zone: &Zone,
) -> Result<Vec<Bucket>, QueryError> {
    let mut buckets = Vec::new();
    let mut start = range.start;
    while start < range.end {
        if buckets.len() == BUCKETS_MAX {
            return invalid(format!(
                "the range has more than {BUCKETS_MAX} buckets of {}: narrow it or take a wider interval",
                interval.name()
            ));
        }
        let (label, end) = bucket_at(start, interval, calendar, zone)?;
        let end = end.min(range.end);
        buckets.push(Bucket { start, end, label });
        start = end;
    }
    Ok(buckets)
}

/// The label and the end of the bucket that holds an instant.
fn bucket_at(
    at: UnixMillis,
    interval: Interval,
    calendar: &Calendar,
    zone: &Zone,
) -> Result<(String, UnixMillis), QueryError> {
    let local = calendar.local(at);
    let date = local.date();
    let whole_days = |first: Date, days_or_month: jiff::Span| {
        let next = shifted(first, days_or_month)?;
        Ok((first.to_string(), calendar.start_of(next)?))
    };
    match interval {
        Interval::Minute => Ok((
            format!("{date} {:02}:{:02}:00", local.hour(), local.minute()),
            UnixMillis((at.0.div_euclid(MINUTE_MS) + 1) * MINUTE_MS),
        )),
        Interval::Hour => Ok((
            format!("{date} {:02}:00:00", local.hour()),
            zone.hour_end(zone.hour_of(at)),
        )),
        Interval::Day => whole_days(date, 1.days()),
        Interval::Week => {
            let since_monday = date.weekday().to_monday_zero_offset();
            let monday = shifted(date, -i64::from(since_monday).days())?;
            whole_days(monday, 7.days())
        }
        Interval::Month => whole_days(date.first_of_month(), 1.month()),
    }
}

//! From the words of `date_range` to a span of time in the site's zone.

use jiff::{Timestamp, ToSpan, civil::Date};
use ringtail_analytics::{HOUR_MS, RECENT_MINUTES, Zone};
use ringtail_proto::UnixMillis;
use serde_json::Value;

use crate::{
    calendar::Calendar,
    error::{QueryError, invalid},
    realtime::CURRENT_MINUTES,
};

/// A `date_range` that is understood, before it is known what day it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Period {
    /// Today.
    Day,
    /// The current local hour and the 23 before it.
    LastHours,
    /// Whole days before today.
    LastDays(i32),
    Month,
    Year,
    /// Whole months before the current one.
    LastMonths(i32),
    All,
    /// The minute under way and so many before it.
    Realtime(i64),
    Dates(Date, Date),
    Instants(UnixMillis, UnixMillis),
}

/// A span of time, and how it came about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Range {
    pub(crate) start: UnixMillis,
    /// The first instant after it.
    pub(crate) end: UnixMillis,
    /// First and last date, when it is made of whole days.
    pub(crate) dates: Option<(Date, Date)>,
    /// The last minutes: the only range that the small sets of recent pages, sources and countries answer.
    pub(crate) is_realtime: bool,
}

/// What decides which days a period means.
pub(crate) struct Now<'a> {
    pub(crate) calendar: &'a Calendar,
    pub(crate) zone: &'a Zone,
    pub(crate) now: UnixMillis,
    /// The query's `date`, if it has one.
    pub(crate) date: Option<Date>,
    /// The site's first hour with data.
    pub(crate) first: Option<UnixMillis>,
}

pub(crate) const MINUTE_MS: i64 = 60_000;

impl Period {
    pub(crate) fn parse(value: &Value) -> Result<Self, QueryError> {
        match value {
            Value::String(name) => Self::parse_name(name),
            Value::Array(ends) => match ends.as_slice() {
                [Value::String(first), Value::String(last)] => Self::parse_ends(first, last),
                _ => invalid("date_range as a list needs two dates or two instants"),
            },
            _ => invalid("date_range is a name, two dates or two instants"),
        }
    }

    fn parse_name(name: &str) -> Result<Self, QueryError> {
        Ok(match name {
            "day" => Self::Day,
            "24h" => Self::LastHours,
            "7d" => Self::LastDays(7),
            "28d" => Self::LastDays(28),
            "30d" => Self::LastDays(30),
            "91d" => Self::LastDays(91),
            "month" => Self::Month,
            "year" => Self::Year,
            "6mo" => Self::LastMonths(6),
            "12mo" => Self::LastMonths(12),
            "all" => Self::All,
            "realtime" => Self::Realtime(CURRENT_MINUTES),
            "realtime_30m" => Self::Realtime(RECENT_MINUTES - 1),
            _ => {
                return invalid(format!(
                    "date_range {name:?} is not known: day, 24h, 7d, 28d, 30d, 91d, month, year, 6mo, 12mo, all, \
                     realtime, realtime_30m, [date, date] or [instant, instant]"
                ));
            }
        })
    }

    fn parse_ends(first: &str, last: &str) -> Result<Self, QueryError> {
        if let (Some(first), Some(last)) = (parse_date(first), parse_date(last)) {
            if first > last {
                return invalid(format!("date_range ends on {last}, before it starts"));
            }
            return Ok(Self::Dates(first, last));
        }
        let ends = (first.parse::<Timestamp>(), last.parse::<Timestamp>());
        let (Ok(first), Ok(last)) = ends else {
            return invalid(format!(
                "date_range [{first:?}, {last:?}] is neither two dates like 2024-01-31 nor two instants in RFC 3339"
            ));
        };
        let start = UnixMillis(first.as_millisecond());
        let mut end = UnixMillis(last.as_millisecond());
        // Plausible's clients name the last second of a minute; ours may name the first instant after it.
        if end.0.rem_euclid(MINUTE_MS) >= MINUTE_MS - 1000 {
            end = UnixMillis(whole_minute(end) + MINUTE_MS);
        }
        if start >= end {
            return invalid("date_range ends before it starts");
        }
        Ok(Self::Instants(start, end))
    }

    /// The span that the words mean now.
    pub(crate) fn resolve(self, now: &Now<'_>) -> Result<Range, QueryError> {
        let today = now.date.unwrap_or_else(|| now.calendar.date(now.now));
        let needs_days = matches!(
            self,
            Self::LastHours | Self::Realtime(_) | Self::Dates(..) | Self::Instants(..)
        );
        if needs_days && now.date.is_some() {
            return invalid("date goes with a date_range that counts from today");
        }
        match self {
            Self::Day => Range::of_dates(now.calendar, today, today),
            Self::LastDays(days) => Range::of_dates(
                now.calendar,
                shifted(today, -days.days())?,
                shifted(today, -1.days())?,
            ),
            Self::Month => {
                Range::of_dates(now.calendar, today.first_of_month(), today.last_of_month())
            }
            Self::Year => {
                Range::of_dates(now.calendar, today.first_of_year(), today.last_of_year())
            }
            Self::LastMonths(months) => Range::of_dates(
                now.calendar,
                shifted(today.first_of_month(), -months.months())?,
                shifted(today.first_of_month(), -1.days())?,
            ),
            Self::All => {
                let first = now.first.map(|first| now.calendar.date(first));
                let first = first.unwrap_or(today).min(today);
                Range::of_dates(now.calendar, first, today)
            }
            Self::Dates(first, last) => Range::of_dates(now.calendar, first, last),
            Self::LastHours => {
                let end = now.zone.hour_end(now.zone.hour_of(now.now));
                let start = now.zone.hour_of(UnixMillis(end.0 - 24 * HOUR_MS));
                Ok(Range::of_instants(UnixMillis(start.0), end))
            }
            Self::Realtime(minutes) => Ok(Range {
                is_realtime: true,
                ..Range::of_instants(
                    UnixMillis(whole_minute(now.now) - minutes * MINUTE_MS),
                    UnixMillis(whole_minute(now.now) + MINUTE_MS),
                )
            }),
            Self::Instants(start, end) => Ok(Range::of_instants(start, end)),
        }
    }
}

impl Range {
    pub(crate) fn of_dates(
        calendar: &Calendar,
        first: Date,
        last: Date,
    ) -> Result<Self, QueryError> {
        Ok(Self {
            start: calendar.start_of(first)?,
            end: calendar.start_of(shifted(last, 1.days())?)?,
            dates: Some((first, last)),
            is_realtime: false,
        })
    }

    /// Widened to whole minutes: nothing finer is kept.
    pub(crate) fn of_instants(start: UnixMillis, end: UnixMillis) -> Self {
        let last = UnixMillis(end.0 - 1);
        Self {
            start: UnixMillis(whole_minute(start)),
            end: UnixMillis(whole_minute(last) + MINUTE_MS),
            dates: None,
            is_realtime: false,
        }
    }

    /// True when both ends are starts of local hours, as cells need it.
    pub(crate) fn is_of_hours(&self, zone: &Zone) -> bool {
        !self.is_realtime
            && [self.start, self.end]
                .into_iter()
                .all(|end| zone.hour_of(end).0 == end.0)
    }
}

/// A date in the one form that Plausible takes.
pub(crate) fn parse_date(text: &str) -> Option<Date> {
    (text.len() == "2024-01-31".len())
        .then(|| text.parse().ok())
        .flatten()
}

pub(crate) fn shifted(date: Date, span: jiff::Span) -> Result<Date, QueryError> {
    date.checked_add(span)
        .map_err(|_| QueryError::Invalid(format!("a date near {date} is out of range")))
}

pub(crate) fn whole_minute(at: UnixMillis) -> i64 {
    at.0.div_euclid(MINUTE_MS) * MINUTE_MS
}

//! Dates of a site's zone, as instants and back.

use jiff::{
    Timestamp,
    civil::{Date, DateTime},
    tz::TimeZone,
};
use ringtail_proto::UnixMillis;

use crate::error::{QueryError, invalid};

/// The calendar of a site's zone.
#[derive(Clone, Debug)]
pub(crate) struct Calendar {
    zone: TimeZone,
}

impl Calendar {
    /// The calendar of a zone by its IANA name; an empty name is UTC.
    pub(crate) fn new(zone: &str) -> Result<Self, QueryError> {
        if zone.is_empty() {
            return Ok(Self {
                zone: TimeZone::UTC,
            });
        }
        match TimeZone::get(zone) {
            Ok(zone) => Ok(Self { zone }),
            Err(_) => invalid(format!("the site's time zone {zone:?} is not known")),
        }
    }

    /// The IANA name of the zone.
    pub(crate) fn name(&self) -> &str {
        self.zone.iana_name().unwrap_or("UTC")
    }

    /// What a local clock shows; instants beyond the calendar show its ends.
    pub(crate) fn local(&self, at: UnixMillis) -> DateTime {
        self.zone.to_datetime(timestamp(at))
    }

    pub(crate) fn date(&self, at: UnixMillis) -> Date {
        self.local(at).date()
    }

    /// The first instant of a date. Where clocks skip midnight the day starts later.
    pub(crate) fn start_of(&self, date: Date) -> Result<UnixMillis, QueryError> {
        let start = date
            .to_zoned(self.zone.clone())
            .and_then(|midnight| midnight.start_of_day());
        match start {
            Ok(start) => Ok(UnixMillis(start.timestamp().as_millisecond())),
            Err(_) => invalid(format!("date {date} is out of range")),
        }
    }

    /// The instant in RFC 3339 with the offset that holds then.
    pub(crate) fn rfc3339(&self, at: UnixMillis) -> String {
        let instant = timestamp(at);
        let offset = self.zone.to_offset(instant);
        instant.display_with_offset(offset).to_string()
    }
}

fn timestamp(at: UnixMillis) -> Timestamp {
    Timestamp::from_millisecond(at.0).unwrap_or(if at.0 < 0 {
        Timestamp::MIN
    } else {
        Timestamp::MAX
    })
}

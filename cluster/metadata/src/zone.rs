//! Time zones from the compiled-in IANA database.

use std::sync::OnceLock;

use jiff::{
    Timestamp,
    civil::date,
    tz::{TimeZone, TimeZoneDatabase},
};
use ringtail_proto::stored::ZoneTransition;

use crate::MetadataError;

/// The years whose transitions a partition gets: `FIRST_YEAR..YEAR_END`. Later instants keep the last offset.
const FIRST_YEAR: i16 = 1970;
const YEAR_END: i16 = 2051;

/// No zone has more than four transitions a year.
const TRANSITIONS_MAX: usize = 4 * (YEAR_END - FIRST_YEAR) as usize;

/// Longer names are refused before they are looked up.
const NAME_BYTES_MAX: usize = 100;

fn database() -> &'static TimeZoneDatabase {
    static DATABASE: OnceLock<TimeZoneDatabase> = OnceLock::new();
    DATABASE.get_or_init(TimeZoneDatabase::bundled)
}

/// The zone's name as the IANA database writes it.
///
/// # Errors
/// [`MetadataError::InvalidTimezone`] when it is not in there.
pub fn canonical_name(name: &str) -> Result<String, MetadataError> {
    let zone = find(name)?;
    Ok(zone.iana_name().unwrap_or("UTC").to_owned())
}

/// The zone's offsets from 1970 to 2050: the first holds since ever, each from its instant on.
///
/// # Errors
/// [`MetadataError::InvalidTimezone`] when there is no such zone.
pub fn transitions(name: &str) -> Result<Vec<ZoneTransition>, MetadataError> {
    let zone = find(name)?;
    let begin = Timestamp::UNIX_EPOCH;
    let end = date(YEAR_END, 1, 1)
        .to_zoned(TimeZone::UTC)
        .expect("a first of January exists in UTC")
        .timestamp();
    let mut transitions = vec![ZoneTransition {
        from_ms: begin.as_millisecond(),
        offset_seconds: zone.to_offset(begin).seconds(),
    }];
    for transition in zone.following(begin).take(TRANSITIONS_MAX) {
        if transition.timestamp() >= end {
            break;
        }
        let offset_seconds = transition.offset().seconds();
        let is_change = transitions
            .last()
            .is_some_and(|last| last.offset_seconds != offset_seconds);
        // A change of the zone's abbreviation alone moves no clock.
        if is_change {
            transitions.push(ZoneTransition {
                from_ms: transition.timestamp().as_millisecond(),
                offset_seconds,
            });
        }
    }
    Ok(transitions)
}

fn find(name: &str) -> Result<TimeZone, MetadataError> {
    let invalid = || MetadataError::InvalidTimezone {
        timezone: name.chars().take(NAME_BYTES_MAX).collect(),
    };
    if name.is_empty() || name.len() > NAME_BYTES_MAX {
        return Err(invalid());
    }
    database().get(name).map_err(|_| invalid())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zone_names_are_those_of_the_database() {
        let check = |name: &str, expect: Option<&str>| {
            assert_eq!(canonical_name(name).ok().as_deref(), expect, "{name:?}");
        };
        check("UTC", Some("UTC"));
        check("Europe/Berlin", Some("Europe/Berlin"));
        check("europe/berlin", Some("Europe/Berlin"));
        check("Asia/Kolkata", Some("Asia/Kolkata"));
        check("Mars/Olympus", None);
        check("", None);
        check("../../etc/passwd", None);
        check(&"x".repeat(101), None);
    }

    #[test]
    fn transitions_agree_with_the_zone_at_every_tenth_day() {
        for name in [
            "UTC",
            "Europe/Berlin",
            "America/New_York",
            "Asia/Kolkata",
            "Australia/Lord_Howe",
            "Africa/Casablanca",
            "America/St_Johns",
            "Pacific/Apia",
        ] {
            let zone = find(name).unwrap();
            let transitions = transitions(name).unwrap();
            assert!(transitions.len() <= TRANSITIONS_MAX, "{name}");
            assert!(transitions.is_sorted_by_key(|transition| transition.from_ms));
            let days = 81 * 365;
            for day in (0..days).step_by(10) {
                let instant = Timestamp::from_second(day * 86_400 + 1).unwrap();
                let position = transitions
                    .partition_point(|transition| transition.from_ms <= instant.as_millisecond());
                let offset = transitions[position - 1].offset_seconds;
                assert_eq!(
                    offset,
                    zone.to_offset(instant).seconds(),
                    "{name} {instant}"
                );
            }
        }
    }

    #[test]
    fn a_zone_without_clock_changes_has_one_offset() {
        let utc = transitions("UTC").unwrap();
        assert_eq!(
            utc,
            [ZoneTransition {
                from_ms: 0,
                offset_seconds: 0
            }]
        );
    }
}

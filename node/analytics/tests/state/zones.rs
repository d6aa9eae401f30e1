//! Local hours, days and months where clocks change and where they stand half an hour apart.

use bytes::Bytes;
use ringtail_analytics::{Dimension, Zone};
use ringtail_proto::{
    HourStart, UnixMillis,
    stored::{SiteSettings, ZoneTransition},
};

use crate::support::{HOUR, MINUTE, MONDAY, TestSite, settings, view};

const DAY: i64 = 24 * HOUR;
/// 2026-03-29 01:00 UTC: Berlin goes from +1 to +2.
const BERLIN_SPRING: i64 = MONDAY + 27 * DAY + HOUR;
/// 2026-10-25 01:00 UTC: Berlin goes back to +1.
const BERLIN_AUTUMN: i64 = MONDAY + 237 * DAY + HOUR;

fn zone(offsets: &[(i64, i32)]) -> Zone {
    Zone::from_settings("test", &transitions(offsets))
}

fn transitions(offsets: &[(i64, i32)]) -> Vec<ZoneTransition> {
    offsets
        .iter()
        .map(|(from_ms, minutes)| ZoneTransition {
            from_ms: *from_ms,
            offset_seconds: minutes * 60,
        })
        .collect()
}

fn berlin() -> Zone {
    zone(&[(i64::MIN, 60), (BERLIN_SPRING, 120), (BERLIN_AUTUMN, 60)])
}

fn hours_of_day(zone: &Zone, noon: i64) -> Vec<i64> {
    let day = zone.day_of(UnixMillis(noon));
    zone.hours(UnixMillis(day.0), UnixMillis(day.0 + 30 * HOUR))
        .filter(|hour| zone.day_of(UnixMillis(hour.0)) == day)
        .map(|hour| hour.0)
        .collect()
}

#[test]
fn days_of_clock_changes_have_23_and_25_hours() {
    let spring = hours_of_day(&berlin(), BERLIN_SPRING + 10 * HOUR);
    assert_eq!(spring.len(), 23);
    assert_eq!(spring[0], BERLIN_SPRING - 2 * HOUR);
    let autumn = hours_of_day(&berlin(), BERLIN_AUTUMN + 10 * HOUR);
    assert_eq!(autumn.len(), 25);
    assert_eq!(autumn[0], BERLIN_AUTUMN - 3 * HOUR);
}

#[test]
fn hours_of_a_half_hour_zone_start_at_half_past() {
    let kolkata = zone(&[(i64::MIN, 330)]);
    let hour = kolkata.hour_of(UnixMillis(MONDAY + 45 * MINUTE));
    assert_eq!(hour, HourStart(MONDAY + 30 * MINUTE));
    assert_eq!(
        kolkata.day_of(UnixMillis(MONDAY)),
        HourStart(MONDAY - 330 * MINUTE)
    );
}

#[test]
fn a_change_by_half_an_hour_leaves_hours_that_part_time() {
    // Lord Howe: +11 in summer, +10:30 in winter.
    let change = MONDAY + 33 * DAY + 15 * HOUR;
    let lord_howe = zone(&[(i64::MIN, 660), (change, 630)]);
    let hours: Vec<i64> = lord_howe
        .hours(UnixMillis(change - HOUR), UnixMillis(change + 2 * HOUR))
        .map(|hour| (hour.0 - change) / MINUTE)
        .collect();
    assert_eq!(hours, [-60, 0, 30, 90]);
    assert_eq!(
        lord_howe.hour_end(HourStart(change)),
        UnixMillis(change + 30 * MINUTE)
    );
    assert_eq!(hours_of_day(&lord_howe, change + 5 * HOUR).len(), 25);
}

#[test]
fn a_day_whose_midnight_is_skipped_starts_at_the_change() {
    // Clocks go from 00:00 to 01:00.
    let change = MONDAY + 5 * DAY + 4 * HOUR;
    let santiago = zone(&[(i64::MIN, -240), (change, -180)]);
    let day = santiago.day_of(UnixMillis(change + 5 * HOUR));
    assert_eq!(day, HourStart(change));
    assert_eq!(hours_of_day(&santiago, change + 5 * HOUR).len(), 23);
}

#[test]
fn a_day_whose_midnight_comes_twice_starts_at_the_second() {
    // Clocks go from 24:00 back to 23:00.
    let change = MONDAY + 33 * DAY + 3 * HOUR;
    let santiago = zone(&[(i64::MIN, -180), (change, -240)]);
    let day = santiago.day_of(UnixMillis(change + 5 * HOUR));
    assert_eq!(day, HourStart(change + HOUR));
    assert_eq!(hours_of_day(&santiago, change - 5 * HOUR).len(), 25);
}

#[test]
fn months_start_at_local_midnight() {
    let first = berlin().month_of(UnixMillis(BERLIN_SPRING + 10 * HOUR));
    assert_eq!(first, HourStart(MONDAY - DAY - HOUR));
    let leap = Zone::utc().month_of(UnixMillis(1_709_208_000_000));
    assert_eq!(
        leap,
        HourStart(1_706_745_600_000),
        "29 February 2024 is in February"
    );
}

#[test]
fn events_fall_into_the_hours_of_the_sites_zone() {
    let kolkata = SiteSettings {
        timezone: Bytes::from_static(b"Asia/Kolkata"),
        transitions: transitions(&[(i64::MIN, 330)]),
        ..settings(30)
    };
    let mut site = TestSite::with_settings(kolkata);
    site.apply(&[
        view(1, MONDAY + 29 * MINUTE, "/"),
        view(2, MONDAY + 31 * MINUTE, "/"),
    ]);
    let table = site.table(Dimension::Total);
    assert!(table.starts_with("-0000.50"), "{table}");
    assert!(table.contains("\n00000.50"), "{table}");
}

#[test]
fn both_hours_with_the_same_local_name_are_apart_in_autumn() {
    let mut settings = settings(30);
    settings.timezone = Bytes::from_static(b"Europe/Berlin");
    settings.transitions =
        transitions(&[(i64::MIN, 60), (BERLIN_SPRING, 120), (BERLIN_AUTUMN, 60)]);
    let mut site = TestSite::with_settings(settings);
    site.apply(&[
        view(1, BERLIN_AUTUMN - 10 * MINUTE, "/"),
        view(2, BERLIN_AUTUMN + 10 * MINUTE, "/"),
    ]);
    assert_eq!(
        site.hours(),
        [HourStart(BERLIN_AUTUMN - HOUR), HourStart(BERLIN_AUTUMN)]
    );
}

#[test]
fn the_zone_cannot_change_once_there_are_events() {
    let mut site = TestSite::with_settings(settings(30));
    let mut other = settings(30);
    other.revision = 2;
    other.timezone = Bytes::from_static(b"Asia/Kolkata");
    other.transitions = transitions(&[(i64::MIN, 330)]);
    site.settings(other.clone());
    assert_eq!(site.state().view().zone().name(), "Asia/Kolkata");
    site.apply(&[view(1, MONDAY, "/")]);
    let mut back = settings(60);
    back.revision = 3;
    site.settings(back);
    let view = site.state().view();
    assert_eq!(view.zone().name(), "Asia/Kolkata");
    assert_eq!(
        view.settings().visit_timeout_ms,
        HOUR,
        "the rest of the settings holds"
    );
}

//! Day and month pages: made when their time has come to rest, removed when an hour changes.

use std::{collections::BTreeMap, ops::ControlFlow};

use bytes::Bytes;
use ringtail_analytics::{Dimension, DimensionPage, HOUR_MS, Zone, remove_pages_over, roll_up};
use ringtail_proto::{
    HourStart, RowReadError, RowReader, RowWrite, SiteRow, stored::ZoneTransition,
};

use crate::{fold::fold_all, sample::OwnedRow};

/// Events of pages by their start, in hours.
type EventsByStart = Vec<(i64, u64)>;

/// Rows in memory.
#[derive(Default)]
struct Rows(BTreeMap<SiteRow, Bytes>);

impl Rows {
    fn write(&mut self, writes: Vec<RowWrite>) {
        for write in writes {
            match write.value {
                Some(value) => self.0.insert(write.row, value),
                None => self.0.remove(&write.row),
            };
        }
    }

    /// An hour with one visit for each of its pages.
    fn add_hour(&mut self, hour: i64, pages: std::ops::Range<u32>) {
        let rows: Vec<OwnedRow> = pages
            .map(|page| OwnedRow::bounce(hour as u64, page))
            .collect();
        let row = SiteRow::Page(HourStart(hour * HOUR_MS));
        self.0.insert(row, fold_all(&rows).encode());
    }

    /// Starts of day pages and month pages of totals, in hours, with their events.
    fn totals(&self) -> (EventsByStart, EventsByStart) {
        let (mut days, mut months) = (Vec::new(), Vec::new());
        for (row, value) in &self.0 {
            let (list, start) = match row {
                SiteRow::DayPage(start, 0) => (&mut days, start),
                SiteRow::MonthPage(start, 0) => (&mut months, start),
                _ => continue,
            };
            let page = DimensionPage::decode(value, Dimension::Total).unwrap();
            list.push((start.0 / HOUR_MS, page.table.sum().events));
        }
        (days, months)
    }

    fn roll_up(&mut self, zone: &Zone, hot_from: i64, days_max: usize) -> usize {
        let hot_from = HourStart(hot_from * HOUR_MS);
        let writes = roll_up(self, zone, hot_from, days_max).unwrap();
        let count = writes.len();
        self.write(writes);
        count
    }
}

impl RowReader for Rows {
    fn get(&self, row: SiteRow) -> Result<Option<Bytes>, RowReadError> {
        Ok(self.0.get(&row).cloned())
    }

    fn range(
        &self,
        from: SiteRow,
        to: SiteRow,
        visit: &mut dyn FnMut(SiteRow, Bytes) -> ControlFlow<()>,
    ) -> Result<(), RowReadError> {
        for (row, value) in self.0.range(from..=to) {
            if visit(*row, value.clone()).is_break() {
                break;
            }
        }
        Ok(())
    }
}

#[test]
fn days_and_months_that_have_ended_get_their_pages_once() {
    let mut rows = Rows::default();
    rows.add_hour(0, 0..1);
    rows.add_hour(23, 0..2);
    rows.add_hour(24, 0..4);
    rows.add_hour(31 * 24, 0..8);
    rows.add_hour(32 * 24, 0..16);
    assert!(rows.roll_up(&Zone::utc(), 32 * 24 + 5, 100) > 0);
    let days = vec![(0, 3), (24, 4), (31 * 24, 8)];
    assert_eq!(rows.totals(), (days, vec![(0, 7)]));
    assert_eq!(rows.roll_up(&Zone::utc(), 32 * 24 + 5, 100), 0);
}

#[test]
fn a_bounded_roll_up_goes_on_where_it_stopped() {
    let mut bounded = Rows::default();
    for hour in (0..40 * 24).step_by(7) {
        bounded.add_hour(hour, 0..3);
    }
    let mut at_once = Rows(bounded.0.clone());
    at_once.roll_up(&Zone::utc(), 41 * 24, usize::MAX);
    let mut rounds = 0;
    while bounded.roll_up(&Zone::utc(), 41 * 24, 3) > 0 {
        rounds += 1;
        assert!(rounds < 100, "roll up does not end");
    }
    assert!(rounds > 10);
    assert_eq!(bounded.0, at_once.0);
}

#[test]
fn a_changed_hour_takes_its_day_and_month_along_and_they_come_back() {
    let mut rows = Rows::default();
    for hour in 0..32 * 24 {
        rows.add_hour(hour, 0..1);
    }
    rows.roll_up(&Zone::utc(), 33 * 24, usize::MAX);
    let hour = HourStart(25 * HOUR_MS);
    let removals = remove_pages_over(&rows, &Zone::utc(), hour).unwrap();
    assert!(removals.iter().all(|write| write.value.is_none()));
    rows.write(removals);
    rows.add_hour(25, 0..5);
    let (days, months) = rows.totals();
    assert!(!days.contains(&(24, 24)) && days.len() == 31 && months.is_empty());
    rows.roll_up(&Zone::utc(), 33 * 24, usize::MAX);
    let (days, months) = rows.totals();
    assert!(days.contains(&(24, 28)));
    assert_eq!(months, [(0, 31 * 24 + 4)]);
}

#[test]
fn days_have_the_hours_of_their_zone() {
    // Half an hour and five hours east; an hour is put forward at 2:00 local time of the second day.
    let zone = Zone::from_settings(
        "Test/Half",
        &[
            ZoneTransition {
                from_ms: i64::MIN,
                offset_seconds: 19_800,
            },
            ZoneTransition {
                from_ms: 24 * HOUR_MS - 19_800_000 + 2 * HOUR_MS,
                offset_seconds: 23_400,
            },
        ],
    );
    let mut rows = Rows::default();
    let first = zone.day_of(ringtail_proto::UnixMillis(0));
    let hours = zone.hours(
        ringtail_proto::UnixMillis(first.0),
        ringtail_proto::UnixMillis(first.0 + 72 * HOUR_MS),
    );
    for hour in hours {
        let visit = fold_all(&[OwnedRow::bounce(1, 0)]);
        rows.0.insert(SiteRow::Page(hour), visit.encode());
    }
    let writes = roll_up(&rows, &zone, HourStart(i64::MAX), 3).unwrap();
    rows.write(writes);
    let (days, _) = rows.totals();
    let events: Vec<u64> = days.iter().map(|(_, events)| *events).collect();
    assert_eq!(events, [24, 23, 24]);
}

/// Rows whose hour pages before an hour are known and cannot be read.
struct Away<'a>(&'a Rows, HourStart);

impl RowReader for Away<'_> {
    fn get(&self, row: SiteRow) -> Result<Option<Bytes>, RowReadError> {
        self.0.get(row)
    }

    fn range(
        &self,
        from: SiteRow,
        to: SiteRow,
        visit: &mut dyn FnMut(SiteRow, Bytes) -> ControlFlow<()>,
    ) -> Result<(), RowReadError> {
        match self.0.first(from, to)? {
            Some(SiteRow::Page(hour)) if hour < self.1 => Err(RowReadError {
                message: "away".to_owned(),
            }),
            _ => self.0.range(from, to, visit),
        }
    }

    fn first(&self, from: SiteRow, to: SiteRow) -> Result<Option<SiteRow>, RowReadError> {
        self.0.first(from, to)
    }
}

#[test]
fn hours_that_cannot_be_read_delay_their_own_day_and_month_alone() {
    let mut rows = Rows::default();
    for hour in 0..40 * 24 {
        rows.add_hour(hour, 0..1);
    }
    let (whole, hot_from) = (Rows(rows.0.clone()), HourStart(40 * 24 * HOUR_MS));
    let read = |rows: &Rows, days_max| {
        let away = Away(rows, HourStart(3 * 24 * HOUR_MS));
        roll_up(&away, &Zone::utc(), hot_from, days_max)
    };
    while let Ok(writes) = read(&rows, 2) {
        assert!(!writes.is_empty(), "days that are due were forgotten");
        rows.write(writes);
    }
    let (days, months) = rows.totals();
    assert_eq!((days.len(), months.len()), (37, 0));
    assert!(
        days.iter()
            .all(|(start, events)| *start >= 3 * 24 && *events == 24)
    );
    // What has its pages needs its hours no more.
    let mut rolled_up = whole;
    rolled_up.roll_up(&Zone::utc(), 40 * 24, usize::MAX);
    assert_eq!(read(&rolled_up, 2).unwrap(), []);
    rows.roll_up(&Zone::utc(), 40 * 24, usize::MAX);
    assert_eq!(rows.0, rolled_up.0);
}

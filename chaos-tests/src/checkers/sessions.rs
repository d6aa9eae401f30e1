//! What a visit is, said a second time: sort a visitor's events by time, start a new visit at each gap.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use jiff::{SignedDuration, Timestamp, tz::TimeZone};

use crate::workload::{Batch, EventName, PlannedEvent, Site};

/// A gap of more than this ends a visit.
const GAP_MAX: SignedDuration = SignedDuration::from_mins(30);
/// A visit spans at most so many local hours, counted from the hour of its first event.
const VISIT_HOURS_MAX: i64 = 24;

/// Numbers of one bucket of time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HourCounts {
    /// Events.
    pub events: u64,
    /// Page views.
    pub pageviews: u64,
    /// Visits that start in it.
    pub visits: u64,
    /// Distinct visitors with an event in it.
    pub visitors: u64,
}

/// Numbers of a site.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SiteCounts {
    /// Over all time.
    pub total: HourCounts,
    /// By local hour, named as the reports name it: `2024-01-01 13:00:00`.
    pub hours: BTreeMap<String, HourCounts>,
}

/// The numbers of a site when exactly these batches are counted.
#[must_use]
pub fn sessionise<'a>(site: &Site, batches: impl Iterator<Item = &'a Batch>) -> SiteCounts {
    let mut counts = SiteCounts::default();
    let mut visitors_of_hour: BTreeMap<String, BTreeSet<u32>> = BTreeMap::new();
    let mut by_visitor: HashMap<u32, Vec<&PlannedEvent>> = HashMap::new();
    for event in batches
        .filter(|batch| batch.domain == site.domain)
        .flat_map(|batch| &batch.events)
    {
        let hour = local_hour(site, event.time);
        let bucket = counts.hours.entry(hour.clone()).or_default();
        for numbers in [bucket, &mut counts.total] {
            numbers.events += 1;
            numbers.pageviews += u64::from(event.name == EventName::Pageview);
        }
        visitors_of_hour
            .entry(hour)
            .or_default()
            .insert(event.visitor);
        by_visitor.entry(event.visitor).or_default().push(event);
    }
    for (hour, visitors) in visitors_of_hour {
        counts.hours.entry(hour).or_default().visitors = visitors.len() as u64;
    }
    counts.total.visitors = by_visitor.len() as u64;
    for events in by_visitor.values_mut() {
        events.sort_by_key(|event| event.time);
        for start in visit_starts(site, events) {
            counts
                .hours
                .entry(local_hour(site, start))
                .or_default()
                .visits += 1;
            counts.total.visits += 1;
        }
    }
    counts
}

/// Times of the first event of each visit; `events` are one visitor's, in order.
fn visit_starts(site: &Site, events: &[&PlannedEvent]) -> Vec<Timestamp> {
    let mut starts: Vec<Timestamp> = Vec::new();
    let mut last: Option<Timestamp> = None;
    for event in events {
        let continues = match (last, starts.last()) {
            (Some(last), Some(start)) => {
                event.time.duration_since(last) <= GAP_MAX
                    && hour_number(site, event.time) - hour_number(site, *start) < VISIT_HOURS_MAX
            }
            _ => false,
        };
        if !continues {
            starts.push(event.time);
        }
        last = Some(event.time);
    }
    starts
}

fn hour_number(site: &Site, time: Timestamp) -> i64 {
    (time.as_second() + 60 * site.offset_minutes).div_euclid(3600)
}

fn local_hour(site: &Site, time: Timestamp) -> String {
    let local = time + SignedDuration::from_mins(site.offset_minutes);
    local
        .to_zoned(TimeZone::UTC)
        .strftime("%Y-%m-%d %H:00:00")
        .to_string()
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    fn check(minutes: &[i64], starts: &[i64]) {
        // Twenty past the hour in UTC.
        let base = Timestamp::from_second(1_749_997_200).unwrap();
        let site = Site::three().swap_remove(0);
        let at = |minutes: i64| base + SignedDuration::from_mins(minutes);
        let events: Vec<PlannedEvent> = minutes
            .iter()
            .map(|&minutes| PlannedEvent {
                id: Uuid::nil(),
                visitor: 0,
                name: EventName::Pageview,
                time: at(minutes),
            })
            .collect();
        let expect: Vec<Timestamp> = starts.iter().map(|&minutes| at(minutes)).collect();
        assert_eq!(
            visit_starts(&site, &events.iter().collect::<Vec<_>>()),
            expect,
            "{minutes:?}"
        );
    }

    #[test]
    fn a_gap_of_more_than_thirty_minutes_starts_a_visit() {
        check(&[], &[]);
        check(&[0, 30, 60], &[0]);
        check(&[0, 31, 60, 91], &[0, 31, 91]);
    }

    #[test]
    fn a_visit_spans_at_most_24_local_hours() {
        let minutes: Vec<i64> = (0..=49).map(|step| step * 30).collect();
        check(&minutes, &[0, 1440]);
    }

    #[test]
    fn hours_are_local_hours() {
        let [utc, kolkata, kathmandu] = &Site::three()[..] else {
            panic!("three sites");
        };
        let time: Timestamp = "2025-06-15T18:20:00Z".parse().unwrap();
        assert_eq!(local_hour(utc, time), "2025-06-15 18:00:00");
        assert_eq!(local_hour(kolkata, time), "2025-06-15 23:00:00");
        assert_eq!(local_hour(kathmandu, time), "2025-06-16 00:00:00");
    }
}

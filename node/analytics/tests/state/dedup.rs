//! An event id counts once per site for as long as events of its time are accepted.

use ringtail_proto::{DropReason, EventId, SiteRow, Verdict};

use crate::support::{HOUR, Hit, MONDAY, TestSite, settings, view};

fn pageviews(site: &TestSite) -> u64 {
    site.total(|cell| cell.pageviews)
}

#[test]
fn the_same_id_counts_once_within_an_entry_and_between_entries() {
    let mut site = TestSite::with_settings(settings(30));
    let hit = view(1, MONDAY, "/");
    assert_eq!(
        site.apply(&[hit.clone(), hit.clone()]),
        [Verdict::Accepted, Verdict::Duplicate]
    );
    assert_eq!(site.apply(std::slice::from_ref(&hit)), [Verdict::Duplicate]);
    assert_eq!(pageviews(&site), 1);
}

#[test]
fn ids_are_known_after_a_restart() {
    let mut site = TestSite::with_settings(settings(30));
    let hit = view(1, MONDAY, "/");
    site.apply(std::slice::from_ref(&hit));
    site.checkpoint();
    site.restart();
    assert_eq!(site.apply(std::slice::from_ref(&hit)), [Verdict::Duplicate]);
    site.checkpoint();
    assert_eq!(pageviews(&site), 1);
}

#[test]
fn ids_of_closed_hours_are_found_through_filter_and_rows_until_72_hours_have_passed() {
    let mut site = TestSite::with_settings(settings(30));
    let hits: Vec<Hit> = (0..500).map(|n| view(n, MONDAY + n as i64, "/")).collect();
    site.apply_at(MONDAY, &hits);
    site.checkpoint();
    for hour in 1..=73 {
        site.apply_at(
            MONDAY + hour * HOUR,
            &[view(9_999, MONDAY + hour * HOUR, "/tick")],
        );
        site.checkpoint();
        if hour % 24 == 0 {
            site.restart();
        }
        let again = site.apply_at(MONDAY + hour * HOUR, &hits[..50]);
        let expect = match hour {
            ..=72 => Verdict::Duplicate,
            _ => Verdict::Dropped(DropReason::TooLate),
        };
        assert!(
            again.iter().all(|verdict| *verdict == expect),
            "hour {hour}: {again:?}"
        );
    }
    assert!(
        site.rows
            .rows
            .keys()
            .any(|row| matches!(row, SiteRow::IdFilter(_)))
    );
    site.checkpoint();
    assert_eq!(pageviews(&site), 500 + 73);
}

#[test]
fn ids_are_forgotten_with_their_rows_once_no_event_of_their_time_could_come() {
    let mut site = TestSite::with_settings(settings(30));
    site.apply(&[view(1, MONDAY, "/")]);
    site.checkpoint();
    let far = MONDAY + 80 * HOUR;
    site.apply(&[view(2, far, "/")]);
    site.checkpoint();
    site.apply(&[view(3, far + 3 * HOUR, "/")]);
    site.checkpoint();
    let hours: Vec<i64> = site
        .rows
        .rows
        .keys()
        .filter_map(|row| match row {
            SiteRow::Ids(hour, _) | SiteRow::IdFilter(hour) => Some((hour.0 - MONDAY) / HOUR),
            _ => None,
        })
        .collect();
    assert!(hours.iter().all(|hour| *hour >= 80), "{hours:?}");
}

#[test]
fn an_event_is_found_by_its_id_with_the_index_of_first_acceptance() {
    let mut site = TestSite::with_settings(settings(30));
    let hits = [view(1, MONDAY, "/"), view(1, MONDAY + HOUR, "/b")];
    site.apply(&hits[..1]);
    let first_index = site.index;
    site.checkpoint();
    site.apply(&hits[1..]);
    let second_index = site.index;
    site.apply(&hits);
    let found = |site: &TestSite, hit: &Hit| {
        let view = site.state().view();
        let index = view.find_event(EventId(hit.id), &site.rows).unwrap();
        index.map(|index| index.0)
    };
    assert_eq!(found(&site, &hits[0]), Some(first_index));
    assert_eq!(found(&site, &hits[1]), Some(second_index));
    assert_eq!(found(&site, &view(5, MONDAY, "/never")), None);
    site.apply(&[view(7, MONDAY + 6 * HOUR, "/")]);
    site.checkpoint();
    site.restart();
    assert_eq!(found(&site, &hits[0]), Some(first_index));
    let visit = site
        .state()
        .view()
        .visit_at(1.into(), (MONDAY + HOUR).into(), &site.rows)
        .unwrap()
        .unwrap();
    assert_eq!(
        (visit.first.0, visit.last.0),
        (MONDAY + HOUR, MONDAY + HOUR)
    );
}

//! Events that come after their hour went to the store.

use ringtail_analytics::Dimension;
use ringtail_proto::Verdict;

use crate::support::{HOUR, MINUTE, MONDAY, TestSite, settings, view};

/// A site whose first hours rest in the store: visits of visitor 1 at 0:00 and at 0:50.
fn two_visits_at_rest() -> TestSite {
    let mut site = TestSite::with_settings(settings(30));
    site.apply(&[view(1, MONDAY, "/a"), view(2, MONDAY, "/a")]);
    site.apply(&[view(1, MONDAY + 50 * MINUTE, "/b")]);
    site.apply(&[view(3, MONDAY + 5 * HOUR, "/c")]);
    site.checkpoint();
    site.restart();
    assert_eq!(site.total(|cell| cell.visits), 4);
    site
}

#[test]
fn late_event_bridges_two_visits() {
    let mut site = two_visits_at_rest();
    let verdicts = site.apply_at(MONDAY + 5 * HOUR, &[view(1, MONDAY + 25 * MINUTE, "/m")]);
    assert_eq!(verdicts, [Verdict::Late]);
    assert_eq!(site.state().pending_late(), 1);
    assert_eq!(
        site.total(|cell| cell.visits),
        4,
        "waits for the checkpoint"
    );
    site.checkpoint();
    assert_eq!(site.state().pending_late(), 0);
    assert_eq!(site.total(|cell| cell.visits), 3);
    assert_eq!(
        site.table(Dimension::EntryPage).lines().next().unwrap(),
        r#"00000.00 "/a" | ev 4 pv 4 vrs 2 vis 2 | ent 2 bnc 1 dur 3000000 vpv 4 eng 1 | scr 0/0 ms 0 | {}"#
    );
}

#[test]
fn what_reports_cannot_show_yet_is_known_until_the_checkpoint() {
    let mut site = two_visits_at_rest();
    assert_eq!(site.state().view().incomplete_since(), None);
    site.apply_at(MONDAY + 5 * HOUR, &[view(1, MONDAY + 25 * MINUTE, "/m")]);
    let first = site.state().index();
    site.apply_at(MONDAY + 5 * HOUR, &[view(2, MONDAY + 35 * MINUTE, "/m")]);
    assert_eq!(site.state().view().incomplete_since(), Some(first));
    site.checkpoint();
    assert_eq!(site.state().view().incomplete_since(), None);
}

#[test]
fn a_long_visit_that_changes_hours_at_rest_is_not_complete_either() {
    let mut site = TestSite::with_settings(settings(30));
    for step in 0..12 {
        site.apply(&[view(1, MONDAY + step * 25 * MINUTE, "/a")]);
    }
    site.checkpoint();
    assert_eq!(site.state().view().incomplete_since(), None);
    // The visit began in an hour whose rows are in the store by now.
    site.apply(&[view(1, MONDAY + 12 * 25 * MINUTE, "/b")]);
    assert_eq!(site.state().pending_late(), 0);
    let index = site.state().index();
    assert_eq!(site.state().view().incomplete_since(), Some(index));
    site.checkpoint();
    assert_eq!(site.state().view().incomplete_since(), None);
}

#[test]
fn late_event_joins_and_extends_a_visit() {
    let mut site = two_visits_at_rest();
    site.apply_at(
        MONDAY + 5 * HOUR,
        &[
            view(1, MONDAY + 70 * MINUTE, "/x"),
            view(2, MONDAY + MINUTE, "/x"),
        ],
    );
    site.checkpoint();
    assert_eq!(site.total(|cell| cell.visits), 4);
    assert_eq!(site.total(|cell| cell.bounces), 2);
    let exits = site.table(Dimension::ExitPage);
    assert!(exits.contains("00000.00 \"/x\" | ev 3"), "{exits}");
    assert!(exits.contains("00001.00 \"/x\" | ev 1"), "{exits}");
}

#[test]
fn a_late_event_of_a_new_visitor_makes_a_visit_in_an_hour_without_rows() {
    let mut site = two_visits_at_rest();
    site.apply_at(MONDAY + 5 * HOUR, &[view(9, MONDAY + 2 * HOUR, "/n")]);
    site.checkpoint();
    assert!(
        site.table(Dimension::Total)
            .contains("00002.00 \"\" | ev 1")
    );
}

#[test]
fn a_hot_event_corrects_the_hour_in_the_store_where_its_visit_began() {
    let mut site = TestSite::with_settings(settings(240));
    site.apply(&[view(1, MONDAY, "/a")]);
    site.apply(&[view(2, MONDAY + 3 * HOUR, "/b")]);
    site.checkpoint();
    assert!(
        site.table(Dimension::Total)
            .contains("00000.00 \"\" | ev 1 pv 1 vrs 1 vis 1 | ent 1 bnc 1")
    );
    site.apply(&[view(1, MONDAY + 3 * HOUR, "/c")]);
    site.checkpoint();
    let total = site.table(Dimension::Total);
    assert!(
        total.contains("00000.00 \"\" | ev 1 pv 1 vrs 1 vis 1 | ent 1 bnc 0 dur 10800000 vpv 2"),
        "{total}"
    );
    assert!(
        site.table(Dimension::ExitPage)
            .contains("00000.00 \"/c\" | ev 1")
    );
}

#[test]
fn day_and_month_pages_over_a_changed_hour_are_removed_in_the_same_batch() {
    use bytes::Bytes;
    use ringtail_proto::{HourStart, SiteRow};

    let mut site = two_visits_at_rest();
    let day = SiteRow::DayPage(HourStart(MONDAY), 3);
    let month = SiteRow::MonthPage(HourStart(MONDAY - 24 * HOUR), 3);
    let other = SiteRow::DayPage(HourStart(MONDAY - 24 * HOUR), 3);
    for row in [day, month, other] {
        site.rows.rows.insert(row, Bytes::from_static(b"page"));
    }
    site.apply_at(MONDAY + 5 * HOUR, &[view(1, MONDAY + MINUTE, "/m")]);
    site.checkpoint();
    assert!(!site.rows.rows.contains_key(&day));
    assert!(!site.rows.rows.contains_key(&month));
    assert!(site.rows.rows.contains_key(&other));
}

#[test]
fn a_longer_timeout_recalls_visits_from_the_store_and_keeps_what_was_apart() {
    let mut site = TestSite::with_settings(settings(1));
    site.apply(&[view(1, MONDAY, "/a")]);
    site.apply(&[view(1, MONDAY + 50 * MINUTE, "/b")]);
    site.apply(&[view(2, MONDAY + 2 * HOUR, "/c")]);
    site.checkpoint();
    let mut longer = settings(240);
    longer.revision = 2;
    site.settings(longer.clone());
    assert_eq!(site.total(|cell| cell.visits), 3);
    site.apply(&[view(1, MONDAY + 2 * HOUR, "/d")]);
    site.checkpoint();
    assert_eq!(
        site.total(|cell| cell.visits),
        2,
        "one event joins all of its visitor's"
    );
    longer.visit_timeout_minutes = 1;
    longer.revision = 1;
    site.settings(longer);
    assert_eq!(
        site.state().view().settings().visit_timeout_ms,
        240 * MINUTE,
        "an older revision is ignored"
    );
}

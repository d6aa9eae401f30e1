//! What a visit is.

use ringtail_analytics::Dimension;

use crate::support::{HOUR, Hit, MINUTE, MONDAY, TestSite, custom, engagement, settings, view};

/// These hits, in this order of arrival, print this table of the whole site: hour, then numbers.
fn check(hits: &[Hit], expect: &str) {
    let mut site = TestSite::with_settings(settings(30));
    for hit in hits {
        site.apply(std::slice::from_ref(hit));
    }
    let expect = expect.trim().replace("\n            ", "\n");
    assert_eq!(site.table(Dimension::Total), expect);
    site.checkpoint();
    site.restart();
    assert_eq!(site.table(Dimension::Total), expect, "after a restart");
}

#[test]
fn one_page_view_is_a_bounce() {
    check(
        &[view(1, MONDAY, "/")],
        r#"00000.00 "" | ev 1 pv 1 vrs 1 vis 1 | ent 1 bnc 1 dur 0 vpv 1 eng 0 | scr 0/0 ms 0 | {}"#,
    );
}

#[test]
fn an_interactive_event_ends_a_bounce_and_a_silent_one_does_not() {
    check(
        &[view(1, MONDAY, "/"), custom(1, MONDAY + 1_000, "click")],
        r#"00000.00 "" | ev 2 pv 1 vrs 1 vis 1 | ent 1 bnc 0 dur 1000 vpv 1 eng 0 | scr 0/0 ms 0 | {}"#,
    );
    let mut silent = custom(1, MONDAY + 1_000, "autoplay");
    silent.is_interactive = false;
    check(
        &[view(1, MONDAY, "/"), silent],
        r#"00000.00 "" | ev 2 pv 1 vrs 1 vis 1 | ent 1 bnc 1 dur 1000 vpv 1 eng 0 | scr 0/0 ms 0 | {}"#,
    );
}

#[test]
fn a_gap_of_the_timeout_joins_and_a_longer_one_does_not() {
    check(
        &[view(1, MONDAY, "/"), view(1, MONDAY + 30 * MINUTE, "/b")],
        r#"00000.00 "" | ev 2 pv 2 vrs 1 vis 1 | ent 1 bnc 0 dur 1800000 vpv 2 eng 1 | scr 0/0 ms 0 | {}"#,
    );
    check(
        &[
            view(1, MONDAY, "/"),
            view(1, MONDAY + 30 * MINUTE + 1, "/b"),
        ],
        r#"00000.00 "" | ev 2 pv 2 vrs 1 vis 2 | ent 2 bnc 2 dur 0 vpv 2 eng 0 | scr 0/0 ms 0 | {}"#,
    );
}

#[test]
fn ten_seconds_engaged_make_a_visit_engaged_and_engagement_speaks_before_duration() {
    check(
        &[
            view(1, MONDAY, "/"),
            engagement(1, MONDAY + 20_000, "/", 9_999, 40),
        ],
        r#"00000.00 "" | ev 1 pv 1 vrs 1 vis 1 | ent 1 bnc 1 dur 20000 vpv 1 eng 0 | scr 0/0 ms 0 | {}"#,
    );
    check(
        &[
            view(1, MONDAY, "/"),
            engagement(1, MONDAY + 20_000, "/", 10_000, 40),
        ],
        r#"00000.00 "" | ev 1 pv 1 vrs 1 vis 1 | ent 1 bnc 1 dur 20000 vpv 1 eng 1 | scr 0/0 ms 0 | {}"#,
    );
    check(
        &[view(1, MONDAY, "/"), custom(1, MONDAY + 10_000, "click")],
        r#"00000.00 "" | ev 2 pv 1 vrs 1 vis 1 | ent 1 bnc 0 dur 10000 vpv 1 eng 1 | scr 0/0 ms 0 | {}"#,
    );
}

#[test]
fn a_goal_makes_a_visit_engaged_and_counts_by_its_id() {
    let mut site = TestSite::with_settings(settings(30));
    site.apply(&[
        view(1, MONDAY, "/docs/a/b").paid(1_500_000, "EUR"),
        view(2, MONDAY, "/docs"),
        custom(3, MONDAY, "signup"),
    ]);
    assert_eq!(
        site.table(Dimension::Goal),
        r#"00000.00 "1" | ev 1 pv 0 vrs 1 vis 1 | ent 0 bnc 0 dur 0 vpv 0 eng 0 | scr 0/0 ms 0 | {}
00000.00 "2" | ev 1 pv 1 vrs 1 vis 1 | ent 0 bnc 0 dur 0 vpv 0 eng 0 | scr 0/0 ms 0 | {"EUR": 1500000}"#
    );
    assert_eq!(site.total(|cell| cell.engaged_visits), 2);
}

#[test]
fn goals_count_from_their_creation_on() {
    let mut since = settings(30);
    since.goals[0].since_ms = MONDAY + HOUR;
    let mut site = TestSite::with_settings(since);
    site.apply(&[custom(1, MONDAY + HOUR - 1, "signup")]);
    site.apply(&[custom(2, MONDAY + HOUR, "signup")]);
    assert_eq!(site.table(Dimension::Goal).lines().count(), 1);
    assert!(
        site.table(Dimension::Goal)
            .starts_with("00001.00 \"1\" | ev 1")
    );
}

#[test]
fn engagement_never_makes_a_visit() {
    check(&[engagement(1, MONDAY, "/", 60_000, 90)], "");
    check(
        &[
            engagement(1, MONDAY, "/", 60_000, 90),
            view(1, MONDAY + MINUTE, "/"),
        ],
        r#"00000.00 "" | ev 1 pv 1 vrs 1 vis 1 | ent 1 bnc 1 dur 0 vpv 1 eng 1 | scr 0/0 ms 0 | {}"#,
    );
}

#[test]
fn engagement_extends_a_visit_so_that_the_next_page_view_joins_it() {
    check(
        &[
            view(1, MONDAY, "/"),
            engagement(1, MONDAY + 25 * MINUTE, "/", 1_000, 10),
            view(1, MONDAY + 50 * MINUTE, "/"),
        ],
        r#"00000.00 "" | ev 2 pv 2 vrs 1 vis 1 | ent 1 bnc 0 dur 3000000 vpv 2 eng 1 | scr 0/0 ms 0 | {}"#,
    );
}

#[test]
fn the_deepest_scroll_counts_once_in_the_hour_of_the_first_view() {
    let mut site = TestSite::with_settings(settings(30));
    site.apply(&[
        view(1, MONDAY + 50 * MINUTE, "/long"),
        engagement(1, MONDAY + 55 * MINUTE, "/long", 2_000, 30),
    ]);
    site.apply(&[engagement(1, MONDAY + HOUR + MINUTE, "/long", 3_000, 80)]);
    assert_eq!(
        site.table(Dimension::Page),
        r#"00000.00 "/long" | ev 1 pv 1 vrs 1 vis 1 | ent 1 bnc 1 dur 660000 vpv 1 eng 0 | scr 80/1 ms 2000 | {}
00001.00 "/long" | ev 0 pv 0 vrs 0 vis 0 | ent 0 bnc 0 dur 0 vpv 0 eng 0 | scr 0/0 ms 3000 | {}"#
    );
}

#[test]
fn a_visit_over_midnight_with_the_previous_salt_stays_one() {
    let midnight = MONDAY + 24 * HOUR;
    check(
        &[
            view(101, midnight - 10 * MINUTE, "/").previously(100),
            view(102, midnight + 10 * MINUTE, "/b").previously(101),
        ],
        r#"00023.00 "" | ev 1 pv 1 vrs 1 vis 1 | ent 1 bnc 0 dur 1200000 vpv 2 eng 1 | scr 0/0 ms 0 | {}
            00024.00 "" | ev 1 pv 1 vrs 1 vis 0 | ent 0 bnc 0 dur 0 vpv 0 eng 0 | scr 0/0 ms 0 | {}"#,
    );
}

#[test]
fn a_visit_ends_after_24_hours_however_busy() {
    let hits: Vec<Hit> = (0..30 * 4)
        .map(|quarter| view(1, MONDAY + quarter * 15 * MINUTE, "/"))
        .collect();
    let mut site = TestSite::with_settings(settings(30));
    for (position, hit) in hits.iter().enumerate() {
        site.apply(std::slice::from_ref(hit));
        if position % 7 == 0 {
            site.checkpoint();
        }
    }
    let starts: Vec<String> = site
        .table(Dimension::Total)
        .lines()
        .filter(|line| line.contains("vis 1"))
        .map(|line| line[..8].to_owned())
        .collect();
    assert_eq!(starts, ["00000.00", "00024.00"]);
    site.checkpoint();
    assert_eq!(site.total(|cell| cell.visits), 2);
    assert_eq!(site.total(|cell| cell.pageviews), 120);
}

#[test]
fn attributes_are_those_of_the_earliest_event_whenever_it_arrives() {
    let mut site = TestSite::with_settings(settings(30));
    site.apply(&[view(1, MONDAY + 5 * MINUTE, "/b").via("Google")]);
    site.apply(&[view(1, MONDAY, "/a").via("Newsletter")]);
    assert_eq!(
        site.table(Dimension::Source),
        r#"00000.00 "Newsletter" | ev 2 pv 2 vrs 1 vis 1 | ent 1 bnc 0 dur 300000 vpv 2 eng 1 | scr 0/0 ms 0 | {}"#
    );
    assert!(site.table(Dimension::EntryPage).contains("\"/a\""));
    assert!(site.table(Dimension::ExitPage).contains("\"/b\""));
}

#[test]
fn a_new_campaign_does_not_split_a_visit() {
    check(
        &[
            view(1, MONDAY, "/").via("Google"),
            view(1, MONDAY + MINUTE, "/").via("Newsletter"),
        ],
        r#"00000.00 "" | ev 2 pv 2 vrs 1 vis 1 | ent 1 bnc 0 dur 60000 vpv 2 eng 1 | scr 0/0 ms 0 | {}"#,
    );
}

#[test]
fn minutes_and_recent_values_follow_the_events() {
    use ringtail_analytics::RecentTable;
    use ringtail_proto::UnixMillis;

    let mut site = TestSite::with_settings(settings(30));
    site.apply(&[view(1, MONDAY, "/a").via("Google")]);
    site.apply(&[
        view(2, MONDAY + 30_000, "/a"),
        view(1, MONDAY + 3 * MINUTE, "/b"),
    ]);
    site.checkpoint();
    site.restart();
    let view_of_site = site.state().view();
    let (from, to) = (UnixMillis(MONDAY), UnixMillis(MONDAY + HOUR));
    let minutes: Vec<(i64, u64, u64)> = view_of_site
        .minutes(from, to, &site.rows)
        .unwrap()
        .iter()
        .map(|(start, minute)| {
            let number = (start.0 - MONDAY) / MINUTE;
            (number, minute.events, minute.visitors.estimate())
        })
        .collect();
    assert_eq!(minutes, [(0, 2, 2), (3, 1, 1)]);
    let now = UnixMillis(MONDAY + 3 * MINUTE);
    let (pages, rest) = view_of_site.recent(RecentTable::Pages, UnixMillis(0), now);
    let pages: Vec<(&str, u64)> = pages
        .iter()
        .map(|(page, cell)| (page.as_str(), cell.events))
        .collect();
    assert_eq!(pages, [("/a", 2), ("/b", 1)]);
    assert_eq!(rest.events, 0);
    let later = UnixMillis(MONDAY + 32 * MINUTE);
    let (pages, _) = view_of_site.recent(RecentTable::Pages, UnixMillis(0), later);
    assert_eq!(pages.len(), 1, "the first minute is no longer recent");
    for _ in 0..6 {
        site.stamp += HOUR;
        site.apply(&[view(9, site.stamp, "/later")]);
        site.checkpoint();
    }
    let stored = site.state().view().minutes(from, to, &site.rows).unwrap();
    assert_eq!(stored.len(), 2, "minutes rest in the rows of their hour");
}

#[test]
fn a_view_does_not_change_when_the_state_does() {
    let mut site = TestSite::with_settings(settings(30));
    site.apply(&[view(1, MONDAY, "/a")]);
    let before = site.state().view();
    site.apply(&[
        view(1, MONDAY + MINUTE, "/b"),
        view(2, MONDAY + MINUTE, "/b"),
    ]);
    let hour = before.hot_hours().next().unwrap();
    let rows = before.hour_rows(hour, ringtail_analytics::Touches::All);
    assert_eq!(rows.iter().map(|row| row.events).sum::<u32>(), 1);
    assert_eq!(site.state().view().index().0, before.index().0 + 1);
}

//! Ten thousand values of one client neither blow memory nor hide: the remainder is visible, totals stay exact.

use ringtail_analytics::Dimension;

use crate::support::{HOUR, Hit, MINUTE, MONDAY, TestSite, settings, view};

fn sums(site: &TestSite, hour: i64, dimension: Dimension) -> (usize, u64, u64) {
    let table = site.hour(hour.into(), dimension).unwrap();
    let remainder = table.remainder().map_or(0, |remainder| remainder.values);
    (table.cells().len(), remainder, table.sum().pageviews)
}

#[test]
fn one_visitor_with_10_000_pages_keeps_some_and_counts_all() {
    let mut site = TestSite::with_settings(settings(30));
    let hits: Vec<Hit> = (0..10_000)
        .map(|page| view(1, MONDAY + page, &format!("/{page}")))
        .collect();
    for hits in hits.chunks(1_000) {
        site.apply(hits);
    }
    let (kept, folded, pageviews) = sums(&site, MONDAY, Dimension::Page);
    assert!(kept <= 500, "{kept}");
    assert!(folded > 0, "the remainder is visible");
    assert_eq!(pageviews, 10_000);
    assert_eq!(site.total(|cell| cell.pageviews), 10_000);
    site.apply(&[view(2, MONDAY + 4 * HOUR, "/")]);
    site.checkpoint();
    site.restart();
    let (_, folded, pageviews) = sums(&site, MONDAY, Dimension::Page);
    assert!(folded > 0);
    assert_eq!(pageviews, 10_000);
}

#[test]
fn an_hour_over_the_cap_folds_its_lightest_half_and_keeps_exact_totals() {
    let mut site = TestSite::with_settings(settings(30));
    // Heavy pages first, then a flood of single ones.
    let mut hits: Vec<Hit> = (0..50_u64)
        .flat_map(|visitor| {
            (0..10).map(move |page| view(visitor, MONDAY + page as i64, &format!("/heavy/{page}")))
        })
        .collect();
    hits.extend((0..12_000_u64).map(|n| {
        let time = MONDAY + MINUTE + n as i64;
        view(1_000 + n / 20, time, &format!("/flood/{n}")).via(&format!("s{n}"))
    }));
    for hits in hits.chunks(500) {
        site.apply(hits);
    }
    let all = hits.len() as u64;
    let (kept, folded, pageviews) = sums(&site, MONDAY, Dimension::Page);
    assert!(kept <= 10_000, "{kept}");
    assert!(folded >= 2_000, "{folded}");
    assert_eq!(pageviews, all);
    let table = site.hour(MONDAY.into(), Dimension::Page).unwrap();
    for page in 0..10 {
        let cell = table.get(&format!("/heavy/{page}")).unwrap();
        assert_eq!(cell.pageviews, 50, "the heavy ones stay");
    }
    assert_eq!(site.total(|cell| cell.pageviews), all);
    site.apply(&[view(2, MONDAY + 4 * HOUR, "/")]);
    site.checkpoint();
    site.restart();
    let (_, folded, pageviews) = sums(&site, MONDAY, Dimension::Page);
    assert!(folded >= 2_000, "{folded}");
    assert_eq!(pageviews, all);
}

#[test]
fn late_events_cannot_fill_an_hour_of_the_store_beyond_the_cap() {
    let mut site = TestSite::with_settings(settings(30));
    site.apply(&[view(1, MONDAY + 6 * HOUR, "/")]);
    let hits: Vec<Hit> = (0..11_000_u64)
        .map(|n| view(n / 20, MONDAY + n as i64, &format!("/{n}")))
        .collect();
    site.apply_at(MONDAY + 6 * HOUR, &hits);
    site.checkpoint();
    let (_, folded, pageviews) = sums(&site, MONDAY, Dimension::Page);
    assert!(folded >= 5_000, "{folded}");
    assert_eq!(pageviews, 11_000);
    assert_eq!(site.total(|cell| cell.events), 11_001);
}

#[test]
fn the_dictionary_forgets_values_that_nothing_uses() {
    let mut site = TestSite::with_settings(settings(30));
    for hour in 0..12 {
        let hits: Vec<Hit> = (0..2_000_u64)
            .map(|n| {
                let time = MONDAY + hour * HOUR + n as i64;
                view(n, time, &format!("/a-rather-long-path/{hour}/{n}"))
            })
            .collect();
        site.apply(&hits);
        site.checkpoint();
    }
    let bytes = site.state().dictionary_bytes();
    assert!(bytes < 2_000_000, "{bytes}");
    assert_eq!(site.total(|cell| cell.pageviews), 24_000);
}

#[test]
fn a_big_site_writes_only_the_visits_that_changed() {
    use ringtail_proto::SiteRow;

    let mut site = TestSite::with_settings(settings(30));
    let hits: Vec<Hit> = (0..3_000_u64)
        .map(|n| view(n, MONDAY + n as i64, &format!("/{}", n % 50)))
        .collect();
    site.apply(&hits);
    site.checkpoint();
    let hot_rows = |site: &TestSite| -> Vec<usize> {
        let rows = site.rows.rows.iter();
        rows.filter(|(row, _)| matches!(row, SiteRow::Hot(..)))
            .map(|(_, value)| value.len())
            .collect()
    };
    assert_eq!(hot_rows(&site).len(), 1);
    site.restart();
    for minute in 1..=5 {
        let before = site.hash();
        site.apply(&[view(1, MONDAY + minute * MINUTE, "/1")]);
        let after = site.hash();
        site.checkpoint();
        site.restart();
        assert_eq!(site.hash(), after);
        assert_ne!(before, after);
    }
    let sizes = hot_rows(&site);
    assert_eq!(
        sizes.len(),
        2,
        "rows of which nothing counts any more are gone"
    );
    assert!(sizes[1] * 20 < sizes[0], "{sizes:?}");
    assert_eq!(site.total(|cell| cell.pageviews), 3_005);
    site.apply(&[view(1, MONDAY + 6 * HOUR, "/1")]);
    site.checkpoint();
    assert!(
        hot_rows(&site).is_empty(),
        "a small site rests in its site row"
    );
    site.restart();
    assert_eq!(site.total(|cell| cell.pageviews), 3_006);
}

#[test]
fn what_is_written_stays_below_twice_what_is_logged() {
    let mut site = TestSite::with_settings(settings(30));
    let mut logged_bytes = 0;
    // Twelve hours of 900 visits each, three page views a visit, a checkpoint every ten minutes.
    for slot in 0..72_i64 {
        let start = MONDAY + slot * 10 * MINUTE;
        let mut hits: Vec<Hit> = (0..150_u64)
            .flat_map(|n| {
                let visitor = (slot as u64 * 150 + n + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
                (0..3_i64).map(move |page| {
                    let time = start + n as i64 * 4_000 + page * 40_000;
                    let mut hit = view(
                        visitor,
                        time,
                        &format!("/articles/{}", (n + 7 * page as u64) % 60),
                    )
                    .previously(visitor.rotate_left(17));
                    hit.id = hit
                        .id
                        .wrapping_mul(0x9E37_79B9_7F4A_7C15_F39C_C060_5CED_C835);
                    hit
                })
            })
            .collect();
        hits.sort_by_key(|hit| hit.time);
        for hits in hits.chunks(50) {
            logged_bytes += logged(hits);
            site.apply(hits);
        }
        site.checkpoint();
    }
    let written = site.rows.written_bytes;
    assert!(
        written < 2 * logged_bytes,
        "{written} bytes written for {logged_bytes} logged: {:.2}",
        written as f64 / logged_bytes as f64
    );
}

fn logged(hits: &[Hit]) -> usize {
    use ringtail_proto::stored::{BatchWriter, PartitionEntry, partition_entry::Body};

    let events: Vec<ringtail_proto::Event> = hits.iter().map(Hit::event).collect();
    let mut writer = BatchWriter::new();
    writer.add(crate::support::SITE, &events, None);
    let entry = PartitionEntry {
        stamp_ms: MONDAY,
        body: Some(Body::Events(writer.finish())),
    };
    entry.to_log().len()
}

#[test]
fn a_flood_of_late_events_is_merged_before_it_grows_without_bound() {
    let mut site = TestSite::with_settings(settings(30));
    site.apply(&[view(1, MONDAY + 6 * HOUR, "/")]);
    let limit = ringtail_analytics::LATE_EVENTS_HARD_MAX as u64;
    for start in (0..limit).step_by(5_000) {
        let hits: Vec<Hit> = (start..start + 5_000)
            .map(|n| view(n % 500 + 10, MONDAY + n as i64, "/"))
            .collect();
        site.apply_at(MONDAY + 6 * HOUR, &hits);
    }
    assert_eq!(site.state().pending_late(), 0, "merged inline");
    assert!(site.state().wants_checkpoint());
    site.checkpoint();
    assert_eq!(site.total(|cell| cell.pageviews), limit + 1);
    assert_eq!(site.total(|cell| cell.visits), 501);
}

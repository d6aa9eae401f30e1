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
        view(1_000 + n / 20, time, &format!("/flood/{n}")).from_source(&format!("s{n}"))
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
    let bytes = site.state.dictionary_bytes();
    assert!(bytes < 2_000_000, "{bytes}");
    assert_eq!(site.total(|cell| cell.pageviews), 24_000);
}

#[test]
fn a_big_site_rests_in_chunks_and_writes_only_changed_ones() {
    use ringtail_proto::SiteRow;

    let mut site = TestSite::with_settings(settings(30));
    let hits: Vec<Hit> = (0..3_000_u64)
        .map(|n| view(n, MONDAY + n as i64, &format!("/{}", n % 50)))
        .collect();
    site.apply(&hits);
    site.checkpoint();
    let chunks = |site: &TestSite| {
        let rows = site.rows.rows.keys();
        rows.filter(|row| matches!(row, SiteRow::Hot(..))).count()
    };
    assert_eq!(chunks(&site), 64);
    site.restart();
    let before = site.hash();
    let writes = {
        site.apply(&[view(1, MONDAY + MINUTE, "/1")]);
        site.state.checkpoint(&site.rows).unwrap()
    };
    let hot = writes
        .iter()
        .filter(|write| matches!(write.row, SiteRow::Hot(..)));
    assert_eq!(hot.count(), 1);
    site.rows.write(writes);
    site.restart();
    assert_ne!(before, site.hash());
    assert_eq!(site.total(|cell| cell.pageviews), 3_001);
    site.apply(&[view(1, MONDAY + 6 * HOUR, "/1")]);
    site.checkpoint();
    assert_eq!(chunks(&site), 0, "a small site rests in its site row");
    site.restart();
    assert_eq!(site.total(|cell| cell.pageviews), 3_002);
}

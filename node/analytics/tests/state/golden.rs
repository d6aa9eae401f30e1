//! Stored formats stay readable: the rows of each version are read, and written again byte for byte.

use bytes::Bytes;
use ringtail_proto::{SiteRow, stored::site_command::Change};

use crate::support::{HOUR, MINUTE, MONDAY, TestSite, custom, engagement, settings, view};

/// A site with every kind of row.
fn site() -> TestSite {
    let mut site = TestSite::with_settings(settings(30));
    site.apply(&[
        view(1, MONDAY, "/").via("Google").previously(9),
        view(2, MONDAY + MINUTE, "/docs/a").paid(2_500_000, "EUR"),
        engagement(1, MONDAY + 2 * MINUTE, "/", 12_000, 75),
        custom(2, MONDAY + HOUR, "signup").with("plan", "pro"),
    ]);
    site.checkpoint();
    site.apply(&[view(3, MONDAY + 4 * HOUR, "/late-riser")]);
    site.command(Change::ImportFinished(Bytes::from_static(b"none")));
    site.checkpoint();
    site
}

pub fn check(name: &str, found: &[u8]) {
    let path = format!("{}/tests/golden/{name}", env!("CARGO_MANIFEST_DIR"));
    if std::env::var_os("RINGTAIL_WRITE_GOLDEN").is_some() {
        std::fs::write(&path, found).unwrap();
    }
    let expect = std::fs::read(&path).unwrap();
    assert!(
        expect == found,
        "{name} is written differently: old rows would be read wrongly or not at all. A new format needs a new version \
         byte and a new file (RINGTAIL_WRITE_GOLDEN=1 writes it)"
    );
}

#[test]
fn rows_are_written_as_ever() {
    let site = site();
    for (row, value) in &site.rows.rows {
        let hour = |hour: i64| (hour - MONDAY) / HOUR;
        match row {
            SiteRow::Site => check("site_row_v2.bin", value),
            SiteRow::Rows(start) if hour(start.0) == 0 => check("hour_rows_v1.bin", value),
            SiteRow::Ids(start, _) if hour(start.0) == 1 => check("ids_v1.bin", value),
            SiteRow::IdFilter(start) if hour(start.0) == 1 => check("id_filter_v1.bin", value),
            _ => {}
        }
    }
    let kinds = |kind: fn(&SiteRow) -> bool| site.rows.rows.keys().any(kind);
    assert!(kinds(|row| matches!(row, SiteRow::Rows(..))));
    assert!(kinds(|row| matches!(row, SiteRow::Ids(..))));
    assert!(kinds(|row| matches!(row, SiteRow::IdFilter(..))));
}

#[test]
fn the_golden_site_row_loads() {
    let path = format!(
        "{}/tests/golden/site_row_v2.bin",
        env!("CARGO_MANIFEST_DIR")
    );
    let mut loaded = site();
    loaded
        .rows
        .rows
        .insert(SiteRow::Site, std::fs::read(path).unwrap().into());
    loaded.restart();
    assert_eq!(loaded.hash(), site().hash());
    assert_eq!(loaded.state().index(), site().state().index());
}

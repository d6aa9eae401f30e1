//! Pages: what is written is read again, by any later version, and damage is an error.

use std::path::Path;

use proptest::prelude::*;
use ringtail_analytics::{
    CellTable, Dimension, DimensionPage, HourPage, PAGE_VALUES_MAX, PageError, page_dimensions,
};

use crate::{
    fold::{fold, fold_all},
    sample::{OwnedRow, any_rows, money},
};

/// Rows that use every part of the format: exact and estimated visitors, money, text beyond ASCII, a remainder.
fn golden_page() -> HourPage {
    let mut rows: Vec<OwnedRow> = (0..300)
        .map(|visitor| OwnedRow::bounce(visitor, 0))
        .collect();
    rows[0].revenue = vec![money("EUR", 12_500_000), money("USD", -1)];
    rows[1].client = 4;
    rows[1].touches[0].scroll_depth = Some(80);
    rows[1].touches[0].engaged_ms = 12_345;
    rows[1].touches[0].dimension = Dimension::Property(15);
    let mut tables = fold_all(&rows).tables().to_vec();
    let many: Vec<OwnedRow> = (0..40).map(|page| OwnedRow::bounce(1, page)).collect();
    tables.push((Dimension::Hostname, fold(&many, Dimension::Page).cut(2)));
    HourPage::new(tables)
}

fn golden(name: &str, bytes: &[u8]) -> Vec<u8> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/golden")
        .join(name);
    if !path.exists() {
        std::fs::write(&path, bytes).unwrap();
        panic!(
            "{} did not exist and was written: look at it, then commit it",
            path.display()
        );
    }
    std::fs::read(path).unwrap()
}

#[test]
fn hour_pages_of_version_1_are_read_for_ever() {
    let page = golden_page();
    let stored = golden("hour_page_v1.bin", &page.encode());
    assert_eq!(stored[0], 1);
    assert_eq!(HourPage::decode(&stored).unwrap(), page);
}

#[test]
fn day_and_month_pages_of_version_1_are_read_for_ever() {
    let table = golden_page().table(Dimension::Total).unwrap().clone();
    let page = DimensionPage { table };
    let stored = golden("dimension_page_v1.bin", &page.encode());
    assert_eq!(stored[0], 1);
    assert_eq!(
        DimensionPage::decode(&stored, Dimension::Total).unwrap(),
        page
    );
}

#[test]
fn pages_of_a_newer_version_are_refused_by_name() {
    let mut bytes = golden_page().encode().to_vec();
    bytes[0] = 9;
    let expect = PageError::Version { found: 9, known: 1 };
    assert_eq!(HourPage::decode(&bytes), Err(expect.clone()));
    assert_eq!(DimensionPage::decode(&bytes, Dimension::Total), Err(expect));
    assert_eq!(HourPage::decode(&[]), Err(PageError::Truncated));
}

#[test]
fn pages_keep_the_heaviest_values_and_one_remainder() {
    let rows: Vec<OwnedRow> = (0..1_500)
        .map(|page| OwnedRow::bounce(u64::from(page), page))
        .collect();
    let page = HourPage::decode(&fold_all(&rows).encode()).unwrap();
    let kept = page.table(Dimension::Page).unwrap();
    assert_eq!(kept.cells().len(), PAGE_VALUES_MAX);
    assert_eq!(kept.remainder().unwrap().values, 500);
    assert_eq!(kept.sum(), fold(&rows, Dimension::Page).sum());
}

#[test]
fn merging_pages_never_cuts_and_merging_into_a_page_does() {
    let tables: Vec<CellTable> = (0..3)
        .map(|hour| {
            let pages = (0..900).map(|page| OwnedRow::bounce(1, hour * 900 + page));
            fold(&pages.collect::<Vec<_>>(), Dimension::Page)
        })
        .collect();
    let mut merged = tables[0].clone();
    merged.merge(&tables[1]);
    merged.merge(&tables[2]);
    assert_eq!(merged.cells().len(), 2_700);
    let day = DimensionPage::merge(Dimension::Page, &tables);
    assert_eq!(day.table.cells().len(), PAGE_VALUES_MAX);
    assert_eq!(day.table.sum(), merged.sum());
}

#[test]
fn a_page_of_one_visit_is_small() {
    let bytes = fold_all(&[OwnedRow::bounce(1, 0)]).encode();
    assert!(bytes.len() < 400, "{} bytes", bytes.len());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn an_hour_page_survives_its_bytes(rows in any_rows()) {
        let page = fold_all(&rows);
        let bytes = page.encode();
        prop_assert_eq!(&HourPage::decode(&bytes).unwrap(), &page);
        prop_assert_eq!(page.encode(), bytes.clone());
        for dimension in page_dimensions() {
            let table = HourPage::decode_dimension(&bytes, dimension).unwrap();
            prop_assert_eq!(table.as_ref(), page.table(dimension));
        }
    }

    #[test]
    fn a_dimension_page_survives_its_bytes(rows in any_rows()) {
        for dimension in [Dimension::Total, Dimension::Page, Dimension::Source] {
            let page = DimensionPage { table: fold(&rows, dimension) };
            prop_assert_eq!(DimensionPage::decode(&page.encode(), dimension).unwrap(), page);
        }
    }

    #[test]
    fn damaged_pages_are_errors_or_other_pages_but_never_panics(
        rows in any_rows(),
        place in any::<prop::sample::Index>(),
        flip in 1_u8..,
        cut in any::<prop::sample::Index>(),
    ) {
        let mut bytes = fold_all(&rows).encode().to_vec();
        let shorter = &bytes[..cut.index(bytes.len())];
        prop_assert!(HourPage::decode(shorter).is_err() || shorter.len() > 2);
        let place = place.index(bytes.len());
        bytes[place] ^= flip;
        if let Ok(page) = HourPage::decode(&bytes) {
            prop_assert_eq!(HourPage::decode(&page.encode()).unwrap(), page);
        }
    }
}

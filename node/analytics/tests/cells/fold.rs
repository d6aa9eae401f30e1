//! From rows to cells.

use proptest::prelude::*;
use ringtail_analytics::{
    Cell, CellTable, Dimension, HourPage, NO_VALUE, Precision, REMAINDER, VisitTotals,
    fold_dimension, fold_hour, page_dimensions,
};

use crate::sample::{KEY, OwnedRow, SmallDictionary, any_rows, money};

pub(crate) fn fold(rows: &[OwnedRow], dimension: Dimension) -> CellTable {
    let rows = rows.iter().map(OwnedRow::row);
    fold_dimension(rows, &SmallDictionary::new(), dimension, KEY)
}

pub(crate) fn fold_all(rows: &[OwnedRow]) -> HourPage {
    fold_hour(rows.iter().map(OwnedRow::row), &SmallDictionary::new(), KEY)
}

/// `value events visits entrances bounces visitors`, one line each.
fn table(table: &CellTable) -> String {
    let line = |value: &str, cell: &Cell| {
        format!(
            "{value}: events {}, visits {}, entrances {}, bounces {}, visitors {}\n",
            cell.events,
            cell.visits,
            cell.entrances,
            cell.bounces,
            cell.visitors.estimate()
        )
    };
    let cells = table.cells().iter();
    let rest = table
        .remainder()
        .iter()
        .map(|rest| line("(other)", &rest.cell))
        .collect::<String>();
    cells
        .map(|(value, cell)| line(value, cell))
        .collect::<String>()
        + &rest
}

#[test]
fn bounces_of_a_page_are_those_of_visits_that_enter_by_it() {
    let mut reader = OwnedRow::bounce(1, 0);
    reader
        .touches
        .push(OwnedRow::bounce(1, 1).touches.remove(0));
    reader.start = Some(VisitTotals {
        pageviews: 2,
        is_bounce: false,
        ..reader.start.unwrap()
    });
    reader.events = 2;
    let rows = [reader, OwnedRow::bounce(2, 0), OwnedRow::bounce(3, 1)];
    assert_eq!(
        table(&fold(&rows, Dimension::Page)),
        "/0: events 2, visits 2, entrances 2, bounces 1, visitors 2\n\
         /1: events 2, visits 2, entrances 1, bounces 1, visitors 2\n"
    );
    assert_eq!(
        table(&fold(&rows, Dimension::EntryPage)),
        "/0: events 3, visits 2, entrances 2, bounces 1, visitors 2\n\
         /1: events 1, visits 1, entrances 1, bounces 1, visitors 1\n"
    );
}

#[test]
fn clients_of_one_browser_share_its_cell_and_versions_keep_their_family() {
    let rows: Vec<OwnedRow> = [0, 3, 1, 2, NO_VALUE]
        .into_iter()
        .zip(1..)
        .map(|(client, visitor)| OwnedRow {
            client,
            ..OwnedRow::bounce(visitor, 0)
        })
        .collect();
    assert_eq!(
        table(&fold(&rows, Dimension::Browser)),
        ": events 2, visits 2, entrances 2, bounces 2, visitors 2\n\
         Chrome: events 1, visits 1, entrances 1, bounces 1, visitors 1\n\
         Firefox: events 2, visits 2, entrances 2, bounces 2, visitors 2\n"
    );
    let versions = fold(&rows, Dimension::BrowserVersion);
    let names: Vec<&str> = versions
        .cells()
        .iter()
        .map(|(value, _)| value.as_str())
        .collect();
    assert_eq!(
        names,
        ["", "130.0", "Chrome 130.0", "Firefox 130.0", "Firefox 99.1"]
    );
}

#[test]
fn what_the_hot_hour_folded_together_stays_a_visible_remainder() {
    let rows = [
        OwnedRow::bounce(1, 0),
        OwnedRow {
            acquisition: REMAINDER,
            ..OwnedRow::bounce(2, 0)
        },
    ];
    assert_eq!(
        table(&fold(&rows, Dimension::Source)),
        "Google: events 1, visits 1, entrances 1, bounces 1, visitors 1\n\
         (other): events 1, visits 1, entrances 1, bounces 1, visitors 1\n"
    );
}

#[test]
fn currencies_are_kept_apart_and_sums_do_not_overflow() {
    let mut row = OwnedRow::bounce(1, 0);
    row.revenue = vec![money("EUR", i64::MAX), money("USD", -5)];
    let total = fold(&[row.clone(), row], Dimension::Total);
    let sums: Vec<(&str, i128)> = total.cells()[0]
        .1
        .revenue
        .iter()
        .map(|sum| (sum.currency.as_str(), sum.amount_micros))
        .collect();
    assert_eq!(sums, [("EUR", 2 * i128::from(i64::MAX)), ("USD", -10)]);
}

#[test]
fn engagement_alone_makes_no_visitor_and_no_visit() {
    let row = OwnedRow {
        events: 0,
        pageviews: 0,
        start: None,
        touches: Vec::new(),
        ..OwnedRow::bounce(1, 0)
    };
    let total = fold(&[row], Dimension::Total);
    assert_eq!(total.cells()[0].1, Cell::new(Precision::Total));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn folding_parts_and_merging_gives_the_fold_of_the_whole(rows in any_rows(), cut in 0_usize..400) {
        let (left, right) = rows.split_at(cut.min(rows.len()));
        for dimension in page_dimensions() {
            let mut parts = fold(left, dimension);
            parts.merge(&fold(right, dimension));
            prop_assert_eq!(parts, fold(&rows, dimension));
        }
    }

    #[test]
    fn the_order_of_rows_does_not_matter(rows in any_rows()) {
        let mut reversed = rows.clone();
        reversed.reverse();
        prop_assert_eq!(fold_all(&rows), fold_all(&reversed));
    }

    #[test]
    fn folding_all_dimensions_at_once_equals_folding_each(rows in any_rows()) {
        let page = fold_all(&rows);
        for dimension in page_dimensions() {
            let alone = fold(&rows, dimension);
            match page.table(dimension) {
                Some(table) => prop_assert_eq!(table, &alone),
                None => prop_assert!(alone.is_empty()),
            }
        }
    }

    #[test]
    fn merging_tables_is_associative_and_commutative(a in any_rows(), b in any_rows(), c in any_rows()) {
        let [a, b, c] = [a, b, c].map(|rows| fold(&rows, Dimension::Page).cut(10));
        let merged = |left: &CellTable, right: &CellTable| {
            let mut merged = left.clone();
            merged.merge(right);
            merged
        };
        prop_assert_eq!(merged(&a, &b), merged(&b, &a));
        prop_assert_eq!(merged(&merged(&a, &b), &c), merged(&a, &merged(&b, &c)));
    }

    #[test]
    fn cutting_keeps_the_heaviest_and_conserves_every_sum(rows in any_rows(), values_max in 0_usize..40) {
        let whole = fold(&rows, Dimension::Page);
        let cut = whole.clone().cut(values_max);
        prop_assert_eq!(cut.sum(), whole.sum());
        prop_assert_eq!(cut.cells().len(), whole.cells().len().min(values_max));
        let folded = cut.remainder().map_or(0, |rest| rest.values);
        prop_assert_eq!(cut.cells().len() as u64 + folded, whole.cells().len() as u64);
        let lightest = cut.cells().iter().map(|(_, cell)| cell.events).min().unwrap_or(u64::MAX);
        for (value, cell) in whole.cells() {
            prop_assert!(cut.get(value).is_some() || cell.events <= lightest);
        }
    }
}

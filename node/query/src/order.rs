//! The order of rows: what was asked for, then the dimensions' values, so that equal rows never change places.

use std::cmp::Ordering;

use crate::{
    count::{Row, RowValue},
    metric::MetricValue,
    plan::{OrderBy, OrderKey},
};

/// Sorts rows. The visible remainder comes last among the rows of its time, whatever is asked for.
pub(crate) fn sort_rows(rows: &mut [Row], order: &[OrderKey]) {
    rows.sort_by(|left, right| compare(left, right, order));
}

fn compare(left: &Row, right: &Row, order: &[OrderKey]) -> Ordering {
    let times_first = order
        .iter()
        .take_while(|key| key.by == OrderBy::Time)
        .count();
    let (times, others) = order.split_at(times_first);
    by_keys(left, right, times)
        .then_with(|| is_remainder(left).cmp(&is_remainder(right)))
        .then_with(|| by_keys(left, right, others))
        .then_with(|| left.bucket.cmp(&right.bucket))
        .then_with(|| by_value(left, right))
}

/// As values are shown; two that are shown alike differ by what they are.
fn by_value(left: &Row, right: &Row) -> Ordering {
    (&left.label, &left.value).cmp(&(&right.label, &right.value))
}

fn by_keys(left: &Row, right: &Row, keys: &[OrderKey]) -> Ordering {
    for key in keys {
        let ordering = match key.by {
            OrderBy::Time => left.bucket.cmp(&right.bucket),
            OrderBy::Value => by_value(left, right),
            OrderBy::Metric(position) => {
                numbers(left.metrics.get(position), right.metrics.get(position))
            }
        };
        let directed = if key.is_descending {
            ordering.reverse()
        } else {
            ordering
        };
        if directed != Ordering::Equal {
            return directed;
        }
    }
    Ordering::Equal
}

/// Rows without a number are below all others.
fn numbers(left: Option<&MetricValue>, right: Option<&MetricValue>) -> Ordering {
    let number = |value: Option<&MetricValue>| {
        value
            .and_then(MetricValue::number)
            .unwrap_or(f64::NEG_INFINITY)
    };
    number(left).total_cmp(&number(right))
}

const fn is_remainder(row: &Row) -> bool {
    matches!(row.value, RowValue::Remainder)
}

//! Questions about a site's numbers and what their answers say: the same through a node's HTTP and inside the simulator.

use std::collections::BTreeMap;

use anyhow::{Context, ensure};
use serde_json::{Value, json};

use crate::{
    checkers::{HourCounts, PageCounts, SiteCounts},
    workload::Site,
};

/// What is asked of each hour and of all of them together.
pub(crate) const NUMBERS: [&str; 4] = ["events", "pageviews", "visits", "visitors"];
/// What is asked of each page.
pub(crate) const PAGE_NUMBERS: [&str; 2] = ["events", "pageviews"];

/// More rows than this are not answered at once.
const ROWS_MAX: usize = 10_000;

/// A question about a site.
pub(crate) fn question(
    site: &Site,
    days: &[String; 2],
    metrics: &[&str],
    dimensions: &[&str],
) -> Value {
    json!({
        "site_id": site.domain,
        "date_range": days,
        "metrics": metrics,
        "dimensions": dimensions,
        "pagination": { "limit": ROWS_MAX },
    })
}

/// The one number of an answer without dimensions.
pub(crate) fn total(answer: &Value) -> anyhow::Result<u64> {
    let rows = rows(answer, 0, 1)?.into_iter();
    Ok(rows.flat_map(|(_, numbers)| numbers).sum())
}

/// Counts of each page of a site.
pub(crate) fn pages(
    site: &Site,
    answer: &Value,
) -> anyhow::Result<BTreeMap<(String, String), PageCounts>> {
    let rows = rows(answer, 1, PAGE_NUMBERS.len())?;
    ensure!(
        rows.len() < ROWS_MAX,
        "{} has too many pages for one answer",
        site.domain
    );
    let counts = rows.into_iter().filter_map(|(page, numbers)| {
        let [events, pageviews] = numbers[..] else {
            return None;
        };
        let page = (site.domain.clone(), page);
        Some((page, PageCounts { events, pageviews }))
    });
    Ok(counts.collect())
}

/// A site's numbers in total and by hour.
pub(crate) fn numbers(total: &Value, hours: &Value) -> anyhow::Result<SiteCounts> {
    let total = rows(total, 0, NUMBERS.len())?;
    let total = total.iter().find_map(|(_, numbers)| counts(numbers));
    let hours = rows(hours, 1, NUMBERS.len())?.into_iter();
    let hours = hours
        .filter_map(|(hour, numbers)| Some((hour, counts(&numbers)?)))
        .filter(|(_, counts)| *counts != HourCounts::default());
    Ok(SiteCounts {
        total: total.unwrap_or_default(),
        hours: hours.collect(),
    })
}

fn counts(numbers: &[u64]) -> Option<HourCounts> {
    let [events, pageviews, visits, visitors] = *numbers else {
        return None;
    };
    Some(HourCounts {
        events,
        pageviews,
        visits,
        visitors,
    })
}

/// The rows of an answer: the first dimension, if there is one, and the metrics as whole numbers.
fn rows(
    answer: &Value,
    dimensions: usize,
    metrics: usize,
) -> anyhow::Result<Vec<(String, Vec<u64>)>> {
    let results = answer.get("results").and_then(Value::as_array);
    let results = results.with_context(|| format!("no results in {answer}"))?;
    results
        .iter()
        .map(|row| {
            let numbers = list(row, "metrics").iter().filter_map(Value::as_u64);
            let numbers: Vec<u64> = numbers.collect();
            let names = list(row, "dimensions");
            ensure!(
                numbers.len() == metrics && names.len() == dimensions,
                "odd row {row}"
            );
            let name = names.first().and_then(Value::as_str).unwrap_or_default();
            Ok((name.to_owned(), numbers))
        })
        .collect()
}

fn list<'a>(row: &'a Value, name: &str) -> &'a [Value] {
    row.get(name)
        .and_then(Value::as_array)
        .map_or(&[], Vec::as_slice)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_with_a_number_too_few_is_no_answer() {
        let answer = |metrics: Value| json!({"results": [{"dimensions": [], "metrics": metrics}]});
        assert_eq!(total(&answer(json!([7]))).ok(), Some(7));
        assert!(total(&answer(json!([]))).is_err());
        assert!(total(&answer(json!(["7"]))).is_err());
        assert!(total(&json!({"error": "gone"})).is_err());
    }
}

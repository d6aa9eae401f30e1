//! Reads a site's numbers through the public query interface.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};
use jiff::{SignedDuration, Timestamp, tz::TimeZone};
use serde_json::{Value, json};
use tokio::time::sleep;

use crate::{
    checkers::{HourCounts, PageCounts, SiteCounts},
    client::Client,
    workload::Site,
};

/// More rows than this are not answered at once.
const ROWS_MAX: usize = 10_000;
/// Between two questions while a condition is awaited.
const ASK_AGAIN_AFTER: Duration = Duration::from_millis(200);

/// Reads reports of all sites with one token.
#[derive(Clone, Debug)]
pub struct Reader {
    client: Client,
    token: String,
}

impl Reader {
    /// A reader with the admin's token.
    #[must_use]
    pub fn new(client: Client, token: String) -> Self {
        Self { client, token }
    }

    /// All events of the plan lie in the last 48 hours; four local days hold them in every zone.
    fn days(site: &Site) -> [String; 2] {
        let local = Timestamp::now() + SignedDuration::from_mins(site.offset_minutes);
        let day = |back: i64| {
            let time = local - SignedDuration::from_hours(24 * back);
            time.to_zoned(TimeZone::UTC)
                .strftime("%Y-%m-%d")
                .to_string()
        };
        [day(3), day(0)]
    }

    async fn ask(
        &self,
        http: &str,
        site: &Site,
        metrics: &[&str],
        dimensions: &[&str],
    ) -> anyhow::Result<Value> {
        let query = json!({
            "site_id": site.domain,
            "date_range": Self::days(site),
            "metrics": metrics,
            "dimensions": dimensions,
            "pagination": { "limit": ROWS_MAX },
        });
        self.client.query(http, &self.token, &query).await
    }

    /// Events of a site, not behind an earlier answer of any node; and what to show to the next node.
    ///
    /// # Errors
    /// When the node does not answer, or is behind and says so.
    pub async fn events_since(
        &self,
        http: &str,
        site: &Site,
        session: Option<&str>,
    ) -> anyhow::Result<(u64, String)> {
        let query = json!({
            "site_id": site.domain,
            "date_range": Self::days(site),
            "metrics": ["events"],
            "session": session,
        });
        let answer = self.client.query(http, &self.token, &query).await?;
        let count = rows(&answer, 0, 1)?.into_iter();
        let count = count.map(|(_, numbers)| first(&numbers)).sum();
        let session = answer.pointer("/meta/session").and_then(Value::as_str);
        let session = session.with_context(|| format!("no session in {answer}"))?;
        Ok((count, session.to_owned()))
    }

    /// Events of a site.
    ///
    /// # Errors
    /// When the node does not answer.
    pub async fn events(&self, http: &str, site: &Site) -> anyhow::Result<u64> {
        let answer = self.ask(http, site, &["events"], &[]).await?;
        Ok(rows(&answer, 0, 1)?
            .into_iter()
            .map(|(_, numbers)| first(&numbers))
            .sum())
    }

    /// Counts of each page of a site.
    ///
    /// # Errors
    /// When the node does not answer, or not with all pages.
    pub async fn pages(
        &self,
        http: &str,
        site: &Site,
    ) -> anyhow::Result<BTreeMap<(String, String), PageCounts>> {
        let answer = self
            .ask(http, site, &["events", "pageviews"], &["event:page"])
            .await?;
        let rows = rows(&answer, 1, 2)?;
        ensure!(
            rows.len() < ROWS_MAX,
            "{} has too many pages for one answer",
            site.domain
        );
        let counts = rows.into_iter().filter_map(|(page, numbers)| {
            let [events, pageviews] = numbers[..] else {
                return None;
            };
            Some((
                (site.domain.clone(), page),
                PageCounts { events, pageviews },
            ))
        });
        Ok(counts.collect())
    }

    /// A site's numbers in total and by hour.
    ///
    /// # Errors
    /// When the node does not answer.
    pub async fn numbers(&self, http: &str, site: &Site) -> anyhow::Result<SiteCounts> {
        let metrics = ["events", "pageviews", "visits", "visitors"];
        let total = self.ask(http, site, &metrics, &[]).await?;
        let total = rows(&total, 0, 4)?
            .into_iter()
            .find_map(|(_, numbers)| counts(&numbers));
        let hours = self.ask(http, site, &metrics, &["time:hour"]).await?;
        let hours = rows(&hours, 1, 4)?
            .into_iter()
            .filter_map(|(hour, numbers)| Some((hour, counts(&numbers)?)))
            .filter(|(_, counts)| *counts != HourCounts::default())
            .collect();
        Ok(SiteCounts {
            total: total.unwrap_or_default(),
            hours,
        })
    }

    /// Waits until no site has late events that are not yet in its hours.
    ///
    /// # Errors
    /// When that does not happen in time.
    pub async fn wait_until_merged(
        &self,
        http: &str,
        sites: &[Site],
        at_most: Duration,
    ) -> anyhow::Result<()> {
        let started = Instant::now();
        for site in sites {
            loop {
                let answer = self.ask(http, site, &["events"], &[]).await?;
                let pending = answer.pointer("/meta/pending_late").and_then(Value::as_u64);
                match pending {
                    Some(0) => break,
                    pending => ensure!(
                        started.elapsed() < at_most,
                        "{} still has {pending:?} late events that are not merged",
                        site.domain
                    ),
                }
                sleep(ASK_AGAIN_AFTER).await;
            }
        }
        Ok(())
    }
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

fn first(numbers: &[u64]) -> u64 {
    numbers.first().copied().unwrap_or_default()
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
            let numbers: Vec<u64> = list(row, "metrics")
                .iter()
                .filter_map(Value::as_u64)
                .collect();
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

//! Reads a site's numbers through the public query interface.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};
use jiff::{SignedDuration, Timestamp, tz::TimeZone};
use serde_json::Value;
use tokio::time::sleep;

use crate::{
    answers,
    checkers::{PageCounts, SiteCounts},
    client::Client,
    workload::Site,
};

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
        let query = answers::question(site, &Self::days(site), metrics, dimensions);
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
        let mut query = answers::question(site, &Self::days(site), &["events"], &[]);
        if let Some(fields) = query.as_object_mut() {
            fields.insert("session".to_owned(), session.into());
        }
        let answer = self.client.query(http, &self.token, &query).await?;
        let count = answers::total(&answer)?;
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
        answers::total(&answer)
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
        let metrics = &answers::PAGE_NUMBERS;
        let answer = self.ask(http, site, metrics, &["event:page"]).await?;
        answers::pages(site, &answer)
    }

    /// A site's numbers in total and by hour.
    ///
    /// # Errors
    /// When the node does not answer.
    pub async fn numbers(&self, http: &str, site: &Site) -> anyhow::Result<SiteCounts> {
        let metrics = &answers::NUMBERS;
        let total = self.ask(http, site, metrics, &[]).await?;
        let hours = self.ask(http, site, metrics, &["time:hour"]).await?;
        answers::numbers(&total, &hours)
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

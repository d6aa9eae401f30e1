//! Reads a site's numbers at one node, through the reports that the product answers.

use std::collections::BTreeMap;

use anyhow::{Context as _, ensure};
use ringtail_partition::ViewAt;
use ringtail_proto::{LogIndex, SiteId, UnixMillis};
use ringtail_query::{QueryRequest, Reports, SiteInfo, Standing};
use serde_json::{Value, json};

use super::{bugs::Machine, clock::EPOCH_MS, ring::Running};
use crate::{
    checkers::{HourCounts, PageCounts, SiteCounts},
    workload::Site,
};

/// More rows than this are not answered at once.
const ROWS_MAX: usize = 10_000;
/// The plan's events lie in the 48 hours before the simulation begins; these days hold them in every zone.
const DAYS: [&str; 2] = ["2025-06-12", "2025-06-16"];

/// One site at one moment of one node.
pub(crate) struct Reading<'a> {
    site: &'a Site,
    info: SiteInfo,
    view: ViewAt<Machine>,
}

impl<'a> Reading<'a> {
    pub(crate) async fn take(node: &Running, id: SiteId, site: &'a Site) -> anyhow::Result<Self> {
        Ok(Self {
            site,
            info: SiteInfo {
                id,
                domain: site.domain.clone(),
                timezone: site.timezone.to_owned(),
            },
            view: node.partitions.view(id).await?,
        })
    }

    /// All entries of the site's group up to here are in the numbers.
    pub(crate) fn index(&self) -> LogIndex {
        self.view.index
    }

    pub(crate) fn pending_late(&self) -> usize {
        self.view.view.pending_late()
    }

    pub(crate) fn events(&self) -> anyhow::Result<u64> {
        let rows = self.ask(&["events"], &[])?;
        Ok(rows.iter().map(|(_, numbers)| first(numbers)).sum())
    }

    pub(crate) fn pages(&self) -> anyhow::Result<BTreeMap<(String, String), PageCounts>> {
        let rows = self.ask(&["events", "pageviews"], &["event:page"])?;
        ensure!(rows.len() < ROWS_MAX, "too many pages for one answer");
        let counts = rows.into_iter().filter_map(|(page, numbers)| {
            let [events, pageviews] = numbers[..] else {
                return None;
            };
            let page = (self.site.domain.clone(), page);
            Some((page, PageCounts { events, pageviews }))
        });
        Ok(counts.collect())
    }

    pub(crate) fn numbers(&self) -> anyhow::Result<SiteCounts> {
        let metrics = ["events", "pageviews", "visits", "visitors"];
        let total = self.ask(&metrics, &[])?;
        let total = total.iter().find_map(|(_, numbers)| counts(numbers));
        let hours = self.ask(&metrics, &["time:hour"])?;
        let hours = hours
            .into_iter()
            .filter_map(|(hour, numbers)| Some((hour, counts(&numbers)?)))
            .filter(|(_, counts)| *counts != HourCounts::default());
        Ok(SiteCounts {
            total: total.unwrap_or_default(),
            hours: hours.collect(),
        })
    }

    fn ask(
        &self,
        metrics: &[&str],
        dimensions: &[&str],
    ) -> anyhow::Result<Vec<(String, Vec<u64>)>> {
        let query = json!({
            "site_id": self.site.domain,
            "date_range": DAYS,
            "metrics": metrics,
            "dimensions": dimensions,
            "pagination": { "limit": ROWS_MAX },
        });
        let request = QueryRequest::parse(query.to_string().as_bytes())?;
        let now = UnixMillis(EPOCH_MS);
        let ViewAt {
            view,
            reader,
            index,
            stamp,
            ..
        } = &self.view;
        let standing = Standing {
            index: *index,
            stamp: *stamp,
            is_fresh: true,
        };
        let answer = Reports::new(0).query(&request, &self.info, view, reader, standing, now)?;
        rows(&serde_json::to_value(answer)?)
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
fn rows(answer: &Value) -> anyhow::Result<Vec<(String, Vec<u64>)>> {
    let results = answer.get("results").and_then(Value::as_array);
    let results = results.with_context(|| format!("no results in {answer}"))?;
    let list = |row: &Value, name: &str| {
        let list = row.get(name).and_then(Value::as_array).cloned();
        list.unwrap_or_default()
    };
    let rows = results.iter().map(|row| {
        let numbers = list(row, "metrics");
        let name = list(row, "dimensions");
        let name = name.first().and_then(Value::as_str).unwrap_or_default();
        (
            name.to_owned(),
            numbers.iter().filter_map(Value::as_u64).collect(),
        )
    });
    Ok(rows.collect())
}

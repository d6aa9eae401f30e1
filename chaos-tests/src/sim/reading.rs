//! Reads a site's numbers at one node, through the reports that the product answers.

use std::collections::BTreeMap;

use ringtail_partition::ViewAt;
use ringtail_proto::{Generation, LogIndex, SiteGeneration, SiteId, UnixMillis};
use ringtail_query::{QueryRequest, Reports, SiteInfo, Standing};
use serde_json::Value;

use super::{bugs::Machine, clock::EPOCH_MS, ring::Running};
use crate::{
    answers,
    checkers::{PageCounts, SiteCounts},
    workload::Site,
};

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
                generation: Generation(0),
                switches: 0,
            },
            view: node.partitions.view(SiteGeneration::first(id)).await?,
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
        answers::total(&self.ask(&["events"], &[])?)
    }

    pub(crate) fn pages(&self) -> anyhow::Result<BTreeMap<(String, String), PageCounts>> {
        let answer = self.ask(&answers::PAGE_NUMBERS, &["event:page"])?;
        answers::pages(self.site, &answer)
    }

    pub(crate) fn numbers(&self) -> anyhow::Result<SiteCounts> {
        let total = self.ask(&answers::NUMBERS, &[])?;
        let hours = self.ask(&answers::NUMBERS, &["time:hour"])?;
        answers::numbers(&total, &hours)
    }

    fn ask(&self, metrics: &[&str], dimensions: &[&str]) -> anyhow::Result<Value> {
        let days = DAYS.map(str::to_owned);
        let query = answers::question(self.site, &days, metrics, dimensions);
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
        Ok(serde_json::to_value(answer)?)
    }
}

//! What one node counts against what the clients know.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use parking_lot::Mutex;

use super::Reader;
use crate::{
    checkers::{Violation, check_numbers, check_pages, sessionise},
    workload::{Ledger, Site},
};

/// Late events are merged after at most five minutes.
const MERGED_AFTER_MAX: Duration = Duration::from_secs(6 * 60);

/// What a node counts.
#[derive(Debug)]
pub(crate) struct Checked {
    /// Broken promises.
    pub(crate) violations: Vec<Violation>,
    /// Batches that are counted.
    pub(crate) present: BTreeSet<u64>,
}

impl Reader {
    /// Compares a node that got its last event with the ledger: each page, and every number of each site.
    pub(crate) async fn check(
        &self,
        http: &str,
        sites: &[Site],
        ledger: &Mutex<Ledger>,
    ) -> anyhow::Result<Checked> {
        self.wait_until_merged(http, sites, MERGED_AFTER_MAX)
            .await?;
        let mut pages = BTreeMap::new();
        let mut numbers = Vec::new();
        for site in sites {
            pages.extend(self.pages(http, site).await?);
            numbers.push(self.numbers(http, site).await?);
        }
        let ledger = ledger.lock();
        let (mut violations, present) = check_pages(&ledger, &pages);
        let counted = ledger.entries().map(|entry| &entry.batch);
        let counted = counted.filter(|batch| present.contains(&batch.number));
        let counted: Vec<_> = counted.collect();
        for (site, numbers) in sites.iter().zip(numbers) {
            let predicted = sessionise(site, counted.iter().copied());
            violations.extend(check_numbers(&site.domain, &predicted, &numbers));
        }
        Ok(Checked {
            violations,
            present,
        })
    }
}

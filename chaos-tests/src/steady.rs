//! A site with a few batches, all acknowledged, none late: what must still be there after whatever a test does.

use std::collections::BTreeMap;

use anyhow::ensure;
use jiff::Timestamp;

use crate::{
    checkers::{check_numbers, check_pages, sessionise},
    client::Client,
    process::Node,
    run::Reader,
    workload::{Generator, GeneratorOptions, Ledger, Site},
};

/// One site, one client that waits for each answer.
#[derive(Debug)]
pub struct Steady {
    site: Site,
    key: String,
    client: Client,
    reader: Reader,
    generator: Generator,
    ledger: Ledger,
}

impl Steady {
    /// Adds the site to a node.
    ///
    /// # Errors
    /// When the node refuses.
    pub async fn start(node: &Node) -> anyhow::Result<Self> {
        let site = Site {
            domain: "steady.example".to_owned(),
            timezone: "UTC",
            offset_minutes: 0,
        };
        let client = Client::new()?;
        let plan = GeneratorOptions {
            sites: vec![site.clone()],
            recent_hours: 1,
            recent_percent: 100,
            ..GeneratorOptions::new(1, Timestamp::now())
        };
        Ok(Self {
            key: node.add_site(&site.domain, site.timezone).await?,
            reader: Reader::new(client.clone(), node.admin_token()?),
            client,
            generator: Generator::new(plan),
            ledger: Ledger::default(),
            site,
        })
    }

    /// Sends batches one after the other.
    ///
    /// # Errors
    /// When one is not acknowledged; that one is unknown from now on.
    pub async fn send(&mut self, node: &Node, batches: usize) -> anyhow::Result<()> {
        for batch in self.generator.by_ref().take(batches) {
            self.ledger.sending(&batch);
            let answer = self.client.send(&node.http, &self.key, &batch).await?;
            self.ledger.answered(&batch, &answer);
        }
        Ok(())
    }

    /// Everything acknowledged is counted once, and the visits are those predicted.
    ///
    /// # Errors
    /// When a promise is broken, with all that was found.
    pub async fn check(&self, node: &Node) -> anyhow::Result<()> {
        let pages: BTreeMap<_, _> = self.reader.pages(&node.http, &self.site).await?;
        let (mut violations, present) = check_pages(&self.ledger, &pages);
        let batches = self.ledger.entries().map(|entry| &entry.batch);
        let counted = batches.filter(|batch| present.contains(&batch.number));
        let predicted = sessionise(&self.site, counted);
        let numbers = self.reader.numbers(&node.http, &self.site).await?;
        violations.extend(check_numbers(&self.site.domain, &predicted, &numbers));
        let found: Vec<String> = violations.iter().map(ToString::to_string).collect();
        ensure!(found.is_empty(), "{}", found.join("\n"));
        Ok(())
    }
}

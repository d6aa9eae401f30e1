//! History of one site, imported before anything breaks: enough rows that a snapshot of its group has many parts.

use anyhow::Context;
use reqwest::Method;
use serde_json::{Value, json};

use super::Ring;
use crate::{checkers::Violation, client::Client, process::Node, sample_log};

const DOMAIN: &str = "history.example";

/// What was imported.
#[derive(Clone, Copy, Debug)]
pub(super) struct History {
    accepted: u64,
}

impl History {
    /// Imports so many lines through the ring's first node.
    pub(super) async fn import(ring: &Ring, lines: u64) -> anyhow::Result<Self> {
        if lines == 0 {
            return Ok(Self { accepted: 0 });
        }
        let body = json!({"domain": DOMAIN, "timezone": "UTC"});
        ring.admin(Method::POST, "/api/v1/sites", body).await?;
        let log = tempfile::Builder::new().suffix(".log").tempfile()?;
        sample_log::write_lines(log.path(), lines)?;
        let path = log.path().to_str();
        let path = path.context("a temporary file has a plain name")?;
        let first = ring.slots().first().copied().context("a ring has nodes")?;
        let import = ["import", "access-log", "--site", DOMAIN, path];
        let counted = ring.node(first)?.ask(&import).await?;
        let accepted = counted.get("accepted").and_then(Value::as_u64);
        let accepted = accepted.with_context(|| format!("no accepted lines in {counted}"))?;
        anyhow::ensure!(accepted > 0, "nothing was imported: {counted}");
        Ok(Self { accepted })
    }

    /// Whether a node has all of it, and once.
    pub(super) async fn check(self, node: &Node, token: &str) -> anyhow::Result<Option<Violation>> {
        if self.accepted == 0 {
            return Ok(None);
        }
        let question = json!({"site_id": DOMAIN, "date_range": "all", "metrics": ["events"]});
        let answer = Client::new()?.query(&node.http, token, &question).await?;
        let counted = crate::answers::total(&answer)?;
        let lost = Violation::Numbers {
            domain: DOMAIN.to_owned(),
            of: "imported events".to_owned(),
            predicted: self.accepted.to_string(),
            counted: counted.to_string(),
        };
        Ok((counted != self.accepted).then_some(lost))
    }
}

//! A fresh node to measure, without the limits that are there for the public.

use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use futures::{StreamExt, TryStreamExt, stream};
use reqwest::Method;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::time::sleep;

use crate::{
    client::Client,
    process::{Node, NodeOptions},
};

/// Sites added at the same time.
const ADDING_MAX: usize = 128;
/// Between two questions while a condition is awaited.
const ASK_AGAIN_AFTER: Duration = Duration::from_millis(5);
/// Whatever is awaited comes sooner or not at all.
const WAITING_MAX: Duration = Duration::from_secs(300);

/// A node, its folder, and a client with all rights.
pub(super) struct Stand {
    pub(super) node: Node,
    pub(super) folder: TempDir,
    pub(super) token: String,
    pub(super) client: Client,
    http: reqwest::Client,
}

impl Stand {
    /// Starts a node with fresh data in the current folder's file system, where a server's data would lie.
    pub(super) async fn start() -> anyhow::Result<Self> {
        Self::start_with(&[]).await
    }

    /// The same, configured by more variables of the environment.
    pub(super) async fn start_with(environment: &[(&str, &str)]) -> anyhow::Result<Self> {
        let folder = tempfile::tempdir_in(".")?;
        let mut options = NodeOptions::new(folder.path().join("data"))?;
        for name in [
            "SITE_EVENTS_PER_SECOND_MAX",
            "ADDRESS_EVENTS_PER_SECOND_MAX",
        ] {
            options
                .environment
                .push((format!("RINGTAIL_{name}"), u32::MAX.to_string()));
        }
        for (name, value) in environment {
            let variable = ((*name).to_owned(), (*value).to_owned());
            options.environment.push(variable);
        }
        let node = Node::start(options).await?;
        Ok(Self {
            token: node.admin_token()?,
            node,
            folder,
            client: Client::new()?,
            http: reqwest::Client::new(),
        })
    }

    /// Adds sites through the administration interface.
    pub(super) async fn add_sites(&self, domains: &[String]) -> anyhow::Result<()> {
        let adding = domains.iter().map(|domain| async move {
            let response = self
                .http
                .post(format!("http://{}/api/v1/sites", self.node.http))
                .bearer_auth(&self.token)
                .json(&json!({ "domain": domain, "timezone": "UTC" }))
                .send()
                .await?;
            let status = response.status();
            ensure!(
                status.is_success(),
                "{domain}: {status} {}",
                response.text().await?
            );
            anyhow::Ok(())
        });
        stream::iter(adding)
            .buffer_unordered(ADDING_MAX)
            .try_collect()
            .await
    }

    /// A request of the administrator that succeeds; null is no body.
    pub(super) async fn ask(
        &self,
        method: Method,
        path: &str,
        body: Value,
    ) -> anyhow::Result<Value> {
        let mut request = self
            .http
            .request(method, format!("http://{}{path}", self.node.http))
            .bearer_auth(&self.token);
        if !body.is_null() {
            request = request.json(&body);
        }
        let response = request.send().await?;
        let status = response.status();
        let text = response.text().await?;
        ensure!(status.is_success(), "{path}: {status} {text}");
        Ok(serde_json::from_str(&text)?)
    }

    /// One number of a site, over today and the days around it.
    pub(super) async fn count(&self, domain: &str, metric: &str) -> anyhow::Result<u64> {
        let query = json!({ "site_id": domain, "date_range": "all", "metrics": [metric] });
        let answer = self
            .client
            .query(&self.node.http, &self.token, &query)
            .await?;
        let number = answer
            .pointer("/results/0/metrics/0")
            .and_then(Value::as_u64);
        Ok(number.unwrap_or_default())
    }

    /// Waits until a site counts so many events.
    pub(super) async fn wait_for_events(&self, domain: &str, events: u64) -> anyhow::Result<()> {
        let started = Instant::now();
        loop {
            let counted = self.count(domain, "events").await?;
            if counted >= events {
                ensure!(
                    counted == events,
                    "{domain} counts {counted} of {events} events"
                );
                return Ok(());
            }
            if started.elapsed() > WAITING_MAX {
                bail!("{domain} counts {counted} of {events} events");
            }
            sleep(ASK_AGAIN_AFTER).await;
        }
    }

    /// The node's process id.
    pub(super) fn pid(&self) -> anyhow::Result<u32> {
        self.node.pid()
    }

    /// Ends the node and starts it again on the same data.
    pub(super) async fn restart(mut self) -> anyhow::Result<Self> {
        self.node = Node::start(self.node.kill().await?).await?;
        Ok(self)
    }

    /// Lets the node drain and starts it again on the same data.
    pub(super) async fn drain(mut self) -> anyhow::Result<Self> {
        self.node = Node::start(self.node.terminate().await?).await?;
        Ok(self)
    }

    /// Ends the node and removes its data.
    pub(super) async fn end(self) -> anyhow::Result<()> {
        self.node.terminate().await?;
        self.folder
            .close()
            .context("the folder of the measurement cannot be removed")
    }
}

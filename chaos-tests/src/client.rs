//! What a client of the public interfaces says and hears: batches over HTTP, queries.

use std::time::Duration;

use anyhow::{Context, ensure};
use serde_json::{Value, json};

use crate::workload::{Batch, EventName};

/// A browser that no rule takes for a robot.
pub const USER_AGENT: &str =
    "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0";

/// A client that waits longer than this learns nothing: the batch is in doubt.
const ANSWER_AFTER_MAX: Duration = Duration::from_secs(10);

/// An HTTP client of one node; cheap to clone, keeps its connections.
#[derive(Clone, Debug)]
pub struct Client {
    http: reqwest::Client,
}

/// What became of a batch that was answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// Counted now; late ones, which wait to be merged, among them.
    pub accepted: u64,
    /// Counted before.
    pub duplicate: u64,
    /// Position and reason of each event that was not counted.
    pub dropped: Vec<(usize, String)>,
}

impl Client {
    /// A client that gives up after a while.
    ///
    /// # Errors
    /// When the platform has no sockets.
    pub fn new() -> anyhow::Result<Self> {
        let http = reqwest::Client::builder()
            .timeout(ANSWER_AFTER_MAX)
            .build()?;
        Ok(Self { http })
    }

    /// Sends a batch and waits until it is applied.
    ///
    /// # Errors
    /// Whatever went wrong, the batch is in doubt.
    pub async fn send(&self, http: &str, key: &str, batch: &Batch) -> anyhow::Result<Answer> {
        let response = self
            .http
            .post(format!("http://{http}/api/v1/events"))
            .bearer_auth(key)
            .json(&body(batch))
            .send()
            .await?;
        let status = response.status();
        let text = response.text().await?;
        ensure!(status.is_success(), "{status}: {text}");
        let answer = answer(&serde_json::from_str(&text)?).with_context(|| text.clone())?;
        let answered = answer.accepted + answer.duplicate + answer.dropped.len() as u64;
        ensure!(
            answered == batch.events.len() as u64,
            "an answer for {answered} events: {text}"
        );
        Ok(answer)
    }

    /// Asks `POST /api/v2/query`.
    ///
    /// # Errors
    /// When the node does not answer 200.
    pub async fn query(&self, http: &str, token: &str, query: &Value) -> anyhow::Result<Value> {
        let response = self
            .http
            .post(format!("http://{http}/api/v2/query"))
            .bearer_auth(token)
            .json(query)
            .send()
            .await?;
        let status = response.status();
        let text = response.text().await?;
        ensure!(status.is_success(), "{query} is answered {status}: {text}");
        serde_json::from_str(&text).with_context(|| text.clone())
    }

    /// Status of a GET, and the body.
    ///
    /// # Errors
    /// When the node does not answer.
    pub async fn get(&self, http: &str, path: &str) -> anyhow::Result<(u16, String)> {
        let response = self.http.get(format!("http://{http}{path}")).send().await?;
        Ok((response.status().as_u16(), response.text().await?))
    }
}

fn body(batch: &Batch) -> Value {
    let events = batch.events.iter().map(|event| {
        json!({
            "id": event.id.to_string(),
            "name": match event.name {
                EventName::Pageview => "pageview",
                EventName::Custom => "signup",
            },
            "url": batch.url(),
            "time": event.time.to_string(),
            "visitor": event.visitor_name(),
            "user_agent": USER_AGENT,
        })
    });
    json!({ "site": batch.domain, "events": events.collect::<Vec<_>>() })
}

fn answer(document: &Value) -> Option<Answer> {
    let dropped = match document.get("dropped") {
        Some(Value::Array(items)) => items
            .iter()
            .map(|item| {
                let position = item.get("position")?.as_u64()?;
                let reason = item.get("reason")?.as_str()?.to_owned();
                Some((usize::try_from(position).ok()?, reason))
            })
            .collect::<Option<Vec<_>>>()?,
        _ => Vec::new(),
    };
    Some(Answer {
        accepted: document.get("accepted")?.as_u64()? + document.get("pending")?.as_u64()?,
        duplicate: document.get("duplicate")?.as_u64()?,
        dropped,
    })
}

//! `ringtail drain`, `remove` and `rebalance`: nodes out of the ring, and what is on its way.

use std::time::Duration;

use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::{Value, json};

use super::{
    client::Client,
    output::{Output, field, remark},
};
use crate::exit::{Exit, ExitError};

/// How often a drain is looked at.
const LOOK_INTERVAL: Duration = Duration::from_millis(500);

#[derive(Args)]
pub(super) struct Drain {
    /// Id of the node.
    node: u64,
    /// Do not wait until the node can be stopped.
    #[arg(long)]
    no_wait: bool,
}

#[derive(Args)]
pub(super) struct Remove {
    /// Id of the node.
    node: u64,
    /// Also a node that holds replicas, where the others can do without.
    #[arg(long)]
    force: bool,
}

#[derive(Args)]
pub(super) struct Rebalance {
    /// Show what would move; the ring moves groups by itself.
    #[arg(long, required = true)]
    dry_run: bool,
}

#[derive(Args)]
pub(super) struct Replicas {
    /// 1, 3 or 5; a group has as many as there are nodes for, at most this.
    count: u8,
}

pub(super) async fn replicas(
    arguments: Replicas,
    client: &Client,
    output: Output,
) -> Result<(), ExitError> {
    let change = json!({"replicas_max": arguments.count});
    let ring = client.patch("/api/v1/ring", &change).await?;
    output.print(&ring, |ring| {
        format!("replicas of a group: up to {}", field(ring, "replicas_max"))
    })
}

/// Moves everything away from a node; it is safe to stop afterwards.
pub(super) async fn drain(
    arguments: Drain,
    client: &Client,
    output: Output,
) -> Result<(), ExitError> {
    let path = format!("/api/v1/ring/nodes/{}/drain", arguments.node);
    let mut node = client.post(&path, &json!({})).await?;
    warn(&node);
    if !arguments.no_wait {
        node = until_empty(client, arguments.node, node).await?;
    }
    output.print(&node, |node| {
        let (id, replicas) = (field(node, "id"), field(node, "replicas"));
        format!(
            "node {id}: {}, replicas left: {replicas}",
            field(node, "state")
        )
    })
}

async fn until_empty(client: &Client, id: u64, mut node: Value) -> Result<Value, ExitError> {
    let left = |node: &Value| number(node, "replicas") + number(node, "leads");
    let style = ProgressStyle::with_template("{bar:40} {pos}/{len} moved {elapsed}")
        .map_err(|error| ExitError::new(Exit::Failure, error))?;
    let bar = ProgressBar::new(left(&node)).with_style(style);
    while left(&node) > 0 {
        tokio::time::sleep(LOOK_INTERVAL).await;
        let ring = client.get("/api/v1/ring").await?;
        let nodes = ring.get("nodes").and_then(Value::as_array);
        let found = nodes
            .into_iter()
            .flatten()
            .find(|node| number(node, "id") == id);
        node = found.cloned().unwrap_or_default();
        if let Some(length) = bar.length() {
            bar.set_length(length.max(left(&node)));
            bar.set_position(length.saturating_sub(left(&node)));
        }
    }
    bar.finish_and_clear();
    Ok(node)
}

pub(super) async fn remove(
    arguments: Remove,
    client: &Client,
    output: Output,
) -> Result<(), ExitError> {
    let (node, force) = (arguments.node, arguments.force);
    let path = format!("/api/v1/ring/nodes/{node}/remove?force={force}");
    let node = client.post(&path, &json!({})).await?;
    warn(&node);
    output.print(&node, |node| {
        format!("node {}: {}", field(node, "id"), field(node, "state"))
    })
}

pub(super) async fn rebalance(
    _arguments: Rebalance,
    client: &Client,
    output: Output,
) -> Result<(), ExitError> {
    let ring = client.get("/api/v1/ring").await?;
    let plan = ring.get("plan").cloned().unwrap_or_default();
    output.print(&plan, |plan| field(plan, "text"))
}

/// What the ring has to say about it goes beside the answer.
fn warn(node: &Value) {
    let warnings = node.get("warnings").and_then(Value::as_array);
    for warning in warnings.into_iter().flatten().filter_map(Value::as_str) {
        remark(&format!("warning: {warning}"));
    }
}

fn number(document: &Value, name: &str) -> u64 {
    let value = document.get(name);
    let number = value.and_then(|value| value.as_u64().or_else(|| value.as_str()?.parse().ok()));
    number.unwrap_or_default()
}

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
/// So many looks in a row may fail.
const LOOK_FAILURES_MAX: u32 = 20;

#[derive(Args)]
pub(super) struct Drain {
    /// Id of the node.
    node: u64,
    /// Do not wait until the node can be stopped.
    #[arg(long)]
    no_wait: bool,
}

#[derive(Args)]
pub(super) struct Activate {
    /// Id of the node.
    node: u64,
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
        let files = field(node, "spool_files");
        format!(
            "node {id}: {}, replicas left: {replicas}, files of waiting events: {files}",
            field(node, "state")
        )
    })
}

/// Takes a drain back.
pub(super) async fn activate(
    arguments: Activate,
    client: &Client,
    output: Output,
) -> Result<(), ExitError> {
    let path = format!("/api/v1/ring/nodes/{}/activate", arguments.node);
    let node = client.post(&path, &json!({})).await?;
    print_state(&node, output)
}

fn print_state(node: &Value, output: Output) -> Result<(), ExitError> {
    output.print(node, |node| {
        format!("node {}: {}", field(node, "id"), field(node, "state"))
    })
}

/// Looks until nothing is left on the node, for as long as it is being drained. A look that fails is made again: the node
/// that is asked may be the one that restarts.
async fn until_empty(client: &Client, id: u64, mut node: Value) -> Result<Value, ExitError> {
    let left = |node: &Value| {
        let names = ["replicas", "leads", "spool_files"];
        names.iter().map(|name| number(node, name)).sum::<u64>()
    };
    let is_silent = |node: &Value| node.get("heard") == Some(&json!(false));
    let style = ProgressStyle::with_template("{bar:40} {pos}/{len} moved {elapsed} {msg}")
        .map_err(|error| ExitError::new(Exit::Failure, error))?;
    let bar = ProgressBar::new(left(&node)).with_style(style);
    let (mut failures, mut silent) = (0, 0);
    loop {
        // One that is slow for a moment says nothing of its spool.
        silent = if is_silent(&node) { silent + 1 } else { 0 };
        if left(&node) == 0 && (silent == 0 || silent > LOOK_FAILURES_MAX) {
            break;
        }
        tokio::time::sleep(LOOK_INTERVAL).await;
        let ring = match client.get("/api/v1/ring").await {
            Ok(ring) => ring,
            Err(error) if failures >= LOOK_FAILURES_MAX => return Err(error),
            Err(error) => {
                failures += 1;
                bar.set_message(error.to_string());
                continue;
            }
        };
        failures = 0;
        node = find(&ring, id)?;
        if let Some(length) = bar.length() {
            bar.set_length(length.max(left(&node)));
            bar.set_position(length.saturating_sub(left(&node)));
        }
        bar.set_message(waits_for(&ring));
    }
    bar.finish_and_clear();
    if is_silent(&node) {
        remark(&format!(
            "warning: node {id} does not answer: whether events wait in its spool is not known"
        ));
    }
    Ok(node)
}

/// The node in the ring's document, while it is on its way out.
fn find(ring: &Value, id: u64) -> Result<Value, ExitError> {
    let nodes = ring.get("nodes").and_then(Value::as_array);
    let mut nodes = nodes.into_iter().flatten();
    let found = nodes.find(|node| number(node, "id") == id);
    match found.map(|node| (node, field(node, "state"))) {
        Some((node, state)) if state == "draining" => Ok(node.clone()),
        Some((_, state)) => {
            let message = format!("node {id} is {state} now: somebody took the drain back");
            Err(ExitError::new(Exit::Refused, message))
        }
        None => {
            let message = format!("the ring has no node {id} any more");
            Err(ExitError::new(Exit::Refused, message))
        }
    }
}

/// The plan's first line: what the ring does, or why it does nothing.
fn waits_for(ring: &Value) -> String {
    let text = ring.pointer("/plan/text").and_then(Value::as_str);
    let first = text.and_then(|text| text.lines().next());
    first.unwrap_or_default().to_owned()
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
    print_state(&node, output)
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

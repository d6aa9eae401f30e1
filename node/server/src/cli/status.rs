//! `ringtail status`: the node that is asked, then the ring as all nodes see it.

use clap::Args;
use serde_json::{Value, json};

use super::{
    client::Client,
    output::{Output, field, listing, table},
};
use crate::exit::ExitError;

#[derive(Args)]
pub(super) struct Arguments {}

pub(super) async fn run(
    _arguments: Arguments,
    client: &Client,
    output: Output,
) -> Result<(), ExitError> {
    let mut status = client.get("/api/v1/status").await?;
    let ring = client.get("/api/v1/ring").await?;
    if let Some(fields) = status.as_object_mut() {
        fields.insert("ring".to_owned(), ring);
    }
    output.print(&status, render)
}

fn render(status: &Value) -> String {
    let nothing = json!({});
    let ring = status.get("ring").unwrap_or(&nothing);
    let sections = [
        this_node(status),
        archive(status),
        nodes(ring),
        groups(ring),
        listing(status, "groups", &LOCAL_COLUMNS),
        mirror(status),
        plan(ring),
    ];
    format!(
        "{} ({})\n\n{}",
        field(status, "state"),
        field(status, "version"),
        sections.join("\n")
    )
}

/// What a node shows of its own replicas.
const LOCAL_COLUMNS: [&str; 5] = ["group", "applied", "floor", "sites_active", "sites_dirty"];

/// What a node shows of the mirror of groups that it leads.
const MIRROR_COLUMNS: [&str; 5] = ["group", "through", "lag", "sites_left", "failure"];

fn this_node(status: &Value) -> String {
    let fields = status.get("node").and_then(Value::as_object);
    let rows: Vec<Vec<String>> = fields
        .into_iter()
        .flatten()
        .map(|(name, _)| vec![name.clone(), field(&status["node"], name)])
        .collect();
    table(&["node", ""], &rows)
}

fn archive(status: &Value) -> String {
    let archive = &status["archive"];
    let rows: Vec<Vec<String>> = ["location", "is_reached", "failure"]
        .iter()
        .map(|name| vec![(*name).to_owned(), field(archive, name)])
        .collect();
    table(&["archive", ""], &rows)
}

/// How the mirror is, and how far it is with the groups that the node leads.
fn mirror(status: &Value) -> String {
    let mirror = &status["mirror"];
    if mirror.is_null() {
        return "mirror: none\n".to_owned();
    }
    let (state, keyspace) = (field(mirror, "state"), field(mirror, "keyspace"));
    let said = reason(mirror, "error");
    let groups = listing(mirror, "groups", &MIRROR_COLUMNS);
    format!("mirror: {state}, keyspace {keyspace} {said}\n{groups}")
}

fn nodes(ring: &Value) -> String {
    let header = [
        "node", "state", "health", "zone", "http", "grpc", "peer", "level", "leads", "replicas",
        "spooled", "clock ms", "",
    ];
    let row = |node: &Value| {
        let mut row: Vec<String> = [
            "id",
            "state",
            "health",
            "zone",
            "http",
            "grpc",
            "peer",
            "feature_level",
            "leads",
            "replicas",
            "spool_files",
            "clock_offset_ms",
        ]
        .iter()
        .map(|name| field(node, name))
        .collect();
        row.push(reason(node, "silent_because"));
        row
    };
    table(&header, &rows(ring, "nodes", row))
}

fn groups(ring: &Value) -> String {
    let header = [
        "group",
        "leader",
        "term",
        "committed",
        "applied",
        "voters",
        "learners",
        "lag",
        "target",
        "",
    ];
    let row = |group: &Value| {
        vec![
            field(group, "group"),
            field(group, "leader"),
            field(group, "term"),
            field(group, "committed"),
            field(group, "applied"),
            numbers(group, "voters"),
            numbers(group, "learners"),
            lags(group),
            numbers(group, "target"),
            reason(group, "unknown"),
        ]
    };
    table(&header, &rows(ring, "groups", row))
}

/// What is on its way, and how far it has come.
fn plan(ring: &Value) -> String {
    let nothing = json!({});
    let plan = ring.get("plan").unwrap_or(&nothing);
    if plan.get("done") == Some(&json!(true)) {
        return "plan: every group is where it should be\n".to_owned();
    }
    let progress = |node: &Value| {
        let (id, voter) = (field(node, "node"), node.get("voter") == Some(&json!(true)));
        match voter {
            true => format!("{id} votes"),
            false => format!("{id} has {} %", field(node, "percent")),
        }
    };
    let row = |step: &Value| {
        vec![
            field(step, "group"),
            numbers(step, "from"),
            numbers(step, "to"),
            rows(step, "nodes", progress).join(", "),
        ]
    };
    let moves = table(&["moving", "from", "to", "log"], &rows(plan, "moves", row));
    format!("{moves}\n{}\n", field(plan, "text"))
}

fn lags(group: &Value) -> String {
    let replica = |replica: &Value| format!("{}:{}", field(replica, "node"), field(replica, "lag"));
    rows(group, "replicas", replica).join(" ")
}

fn numbers(document: &Value, list: &str) -> String {
    let numbers = rows(document, list, ToString::to_string);
    match numbers.is_empty() {
        true => "-".to_owned(),
        false => numbers.join(","),
    }
}

/// Nothing to say is said with nothing.
fn reason(document: &Value, name: &str) -> String {
    let text = document.get(name).and_then(Value::as_str);
    text.unwrap_or_default().to_owned()
}

fn rows<T>(document: &Value, list: &str, row: impl FnMut(&Value) -> T) -> Vec<T> {
    let items = document.get(list).and_then(Value::as_array);
    items.into_iter().flatten().map(row).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ring_is_shown_with_what_is_unknown_and_why() {
        let status = json!({
            "state": "ready", "version": "1", "node": {"id": 1}, "groups": [],
            "ring": {
                "nodes": [{"id": 2, "state": "active", "silent_because": "no answer within 1s"}],
                "groups": [
                    {"group": 4, "leader": 1, "term": 7, "voters": [1, 2, 3], "target": [1, 2, 3],
                     "replicas": [{"node": 1, "lag": 0}, {"node": 2, "lag": null}]},
                    {"group": 5, "leader": null, "unknown": "it has no leader now", "voters": [2]},
                ],
                "plan": {"done": false, "text": "on their way: 4", "moves": [
                    {"group": 4, "from": [1], "to": [1, 2],
                     "nodes": [{"node": 1, "voter": true}, {"node": 2, "percent": 40}]},
                ]},
            },
        });
        let text = render(&status);
        for expect in [
            "no answer within 1s",
            "1:0 2:-",
            "it has no leader now",
            "1 votes, 2 has 40 %",
            "on their way: 4",
        ] {
            assert!(text.contains(expect), "{expect} is missing in {text}");
        }
    }
}

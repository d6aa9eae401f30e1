//! `ringtail status`

use clap::Args;
use serde_json::Value;

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
    let status = client.get("/api/v1/status").await?;
    output.print(&status, render)
}

fn render(status: &Value) -> String {
    let node: Vec<Vec<String>> = status
        .get("node")
        .and_then(Value::as_object)
        .into_iter()
        .flat_map(|node| node.iter())
        .map(|(name, value)| {
            let text = value
                .as_str()
                .map_or_else(|| value.to_string(), str::to_owned);
            vec![name.clone(), text]
        })
        .collect();
    let groups = [
        "group",
        "leader",
        "applied",
        "floor",
        "sites_active",
        "sites_dirty",
    ];
    format!(
        "{} ({})\n\n{}\n{}",
        field(status, "state"),
        field(status, "version"),
        table(&["node", ""], &node),
        listing(status, "groups", &groups)
    )
}

//! `ringtail query`

use clap::Args;
use serde_json::{Value, json};

use super::{
    client::Client,
    output::{Output, table},
};
use crate::exit::{Exit, ExitError};

#[derive(Args)]
pub(super) struct Arguments {
    /// The site's domain.
    #[arg(long, value_name = "DOMAIN", required_unless_present = "body")]
    site: Option<String>,
    /// Metrics, with commas between.
    #[arg(
        long,
        value_delimiter = ',',
        default_value = "visitors,visits,pageviews"
    )]
    metrics: Vec<String>,
    /// `day`, `7d`, `month`, `all`, …, or two dates with a comma between.
    #[arg(long, value_name = "RANGE", default_value = "7d")]
    range: String,
    /// `time:day`, `event:page`, `visit:source`, …, with commas between.
    #[arg(long, value_delimiter = ',')]
    by: Vec<String>,
    /// Rows at most.
    #[arg(long, value_name = "N")]
    limit: Option<u32>,
    /// The whole body of `POST /api/v2/query` instead.
    #[arg(long, value_name = "JSON", conflicts_with_all = ["site", "by", "limit"])]
    body: Option<String>,
}

pub(super) async fn run(
    arguments: Arguments,
    client: &Client,
    output: Output,
) -> Result<(), ExitError> {
    let request = request_of(arguments)?;
    let report = client.post("/api/v2/query", &request).await?;
    output.print(&report, |report| render(&request, report))
}

fn request_of(arguments: Arguments) -> Result<Value, ExitError> {
    if let Some(body) = arguments.body {
        return serde_json::from_str(&body)
            .map_err(|error| ExitError::new(Exit::Usage, format!("--body is not JSON: {error}")));
    }
    let range = match arguments.range.split_once(',') {
        Some((from, to)) => json!([from.trim(), to.trim()]),
        None => json!(arguments.range),
    };
    let mut request = json!({
        "site_id": arguments.site,
        "metrics": arguments.metrics,
        "date_range": range,
        "dimensions": arguments.by,
    });
    if let (Some(limit), Some(fields)) = (arguments.limit, request.as_object_mut()) {
        fields.insert("pagination".to_owned(), json!({"limit": limit}));
    }
    Ok(request)
}

fn render(request: &Value, report: &Value) -> String {
    let names = |key: &str| -> Vec<String> {
        let list = request.get(key).and_then(Value::as_array);
        list.into_iter().flatten().map(text).collect()
    };
    let mut header = names("dimensions");
    header.extend(names("metrics"));
    let rows: Vec<Vec<String>> = report
        .get("results")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .map(|row| {
            ["dimensions", "metrics"]
                .iter()
                .filter_map(|key| row.get(key)?.as_array())
                .flatten()
                .map(text)
                .collect()
        })
        .collect();
    table(
        &header.iter().map(String::as_str).collect::<Vec<_>>(),
        &rows,
    )
}

fn text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Null => "-".to_owned(),
        Value::Object(money) => match money.get("long") {
            Some(long) => text(long),
            None => value.to_string(),
        },
        other => other.to_string(),
    }
}

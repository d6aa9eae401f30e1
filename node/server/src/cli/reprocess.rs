//! `ringtail reprocess`: history under other rules.

use std::{path::PathBuf, time::Duration};

use clap::{Args, Subcommand};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde_json::{Value, json};

use super::{
    client::{Client, encoded},
    output::{Output, field, remark, table},
};
use crate::exit::{Exit, ExitError};

/// Time between two looks at how far it is.
const LOOK_INTERVAL: Duration = Duration::from_millis(500);
/// Steps of the bar.
const BAR_STEPS: u64 = 1_000;

#[derive(Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(super) struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    begin: Option<Begin>,
}

#[derive(Args)]
struct Begin {
    /// The sites' domains, with commas between.
    #[arg(
        long = "site",
        value_name = "DOMAIN",
        value_delimiter = ',',
        required = true
    )]
    sites: Vec<String>,
    /// Rule file (TOML); without it, history is derived anew under the rules that it has.
    #[arg(long, value_name = "FILE")]
    rules: Option<PathBuf>,
    /// Rules about events hold for those of this date (in the site's zone) or instant and later.
    #[arg(long, value_name = "DATE", requires = "rules")]
    from: Option<String>,
    /// What the rules are called; the file's name by default.
    #[arg(long, value_name = "TEXT")]
    label: Option<String>,
    /// Do not wait until it is built.
    #[arg(long)]
    detach: bool,
}

#[derive(Args)]
struct Sites {
    /// The sites' domains, with commas between.
    #[arg(
        long = "site",
        value_name = "DOMAIN",
        value_delimiter = ',',
        required = true
    )]
    sites: Vec<String>,
}

#[derive(Subcommand)]
enum Command {
    /// Tell the generations of a site, and how far the next one is.
    Status(Sites),
    /// Wait until the next generation is built.
    Wait(Sites),
    /// Show every metric before and after.
    Diff(Diff),
    /// Serve the next generation from now on.
    Switch(Sites),
    /// Serve the former generation again.
    Undo(Sites),
    /// Give the former generation up: nobody goes back to it.
    Accept(Sites),
    /// Build no further for now.
    Pause(Sites),
    /// Build on.
    Resume(Sites),
    /// Give the next generation up.
    Cancel(Sites),
}

#[derive(Args)]
struct Diff {
    /// The site's domain.
    #[arg(long, value_name = "DOMAIN")]
    site: String,
    /// `day`, `7d`, `month`, `all`, …, or two dates with a comma between.
    #[arg(long, value_name = "RANGE", default_value = "all")]
    range: String,
    /// `time:month`, `visit:channel`, …, with commas between; without it, totals.
    #[arg(long, value_name = "DIMENSIONS", default_value = "")]
    by: String,
    /// Show rows that are the same, too.
    #[arg(long)]
    all: bool,
}

pub(super) async fn run(
    arguments: Arguments,
    client: &Client,
    output: Output,
) -> Result<(), ExitError> {
    let (step, sites) = match (arguments.command, arguments.begin) {
        (Some(Command::Status(sites)), _) => return status(&sites, client, output).await,
        (Some(Command::Wait(sites)), _) => return wait(&sites.sites, client, output).await,
        (Some(Command::Diff(wanted)), _) => return diff(&wanted, client, output).await,
        (Some(Command::Switch(sites)), _) => ("switch", sites),
        (Some(Command::Undo(sites)), _) => ("undo", sites),
        (Some(Command::Accept(sites)), _) => ("accept", sites),
        (Some(Command::Pause(sites)), _) => ("pause", sites),
        (Some(Command::Resume(sites)), _) => ("resume", sites),
        (Some(Command::Cancel(sites)), _) => ("cancel", sites),
        (None, Some(wanted)) => return begin(wanted, client, output).await,
        (None, None) => {
            let message = "`--site DOMAIN` or a command is needed: see `ringtail reprocess --help`";
            return Err(ExitError::new(Exit::Usage, message));
        }
    };
    for site in &sites.sites {
        let path = format!("{}/{step}", path_of(site));
        let document = client.post(&path, &json!({})).await?;
        output.print(&document, render)?;
    }
    Ok(())
}

async fn begin(wanted: Begin, client: &Client, output: Output) -> Result<(), ExitError> {
    let rules = wanted.rules.as_ref().map(std::fs::read_to_string);
    let rules = rules.transpose().map_err(|error| {
        let path = wanted.rules.clone().unwrap_or_default();
        ExitError::new(Exit::Usage, format!("{}: {error}", path.display()))
    })?;
    let name = wanted.rules.as_ref().and_then(|path| path.file_name());
    let name = name.map(|name| name.to_string_lossy().into_owned());
    let label = wanted.label.or(name).unwrap_or_default();
    let body = json!({"rules": rules, "from": wanted.from, "label": label});
    for site in &wanted.sites {
        let begun = client.post(&path_of(site), &body).await?;
        if wanted.detach {
            output.print(&begun, render)?;
        }
    }
    match wanted.detach {
        true => Ok(()),
        false => wait(&wanted.sites, client, output).await,
    }
}

/// Shows a bar on stderr until all sites are built.
async fn wait(sites: &[String], client: &Client, output: Output) -> Result<(), ExitError> {
    for site in sites {
        let bar = bar(site);
        let document = loop {
            let document = client.get(&path_of(site)).await?;
            let next = document.get("next").filter(|next| !next.is_null());
            let Some(next) = next else {
                let message = format!("{site} is not being reprocessed");
                return Err(ExitError::new(Exit::Failure, message));
            };
            let share = next.get("progress").and_then(Value::as_f64).unwrap_or(0.0);
            bar.set_position((share * BAR_STEPS as f64) as u64);
            let is_paused = next.get("is_paused") == Some(&Value::Bool(true));
            let events = field(next, "events");
            bar.set_message(match is_paused {
                true => format!("{events} events, paused"),
                false => format!("{events} events"),
            });
            if next.get("is_complete") == Some(&Value::Bool(true)) {
                break document;
            }
            tokio::time::sleep(LOOK_INTERVAL).await;
        };
        bar.finish_and_clear();
        output.print(&document, render)?;
    }
    if !output.is_json {
        remark("built; `ringtail reprocess diff` compares, `ringtail reprocess switch` serves it");
    }
    Ok(())
}

fn bar(site: &str) -> ProgressBar {
    let bar = ProgressBar::with_draw_target(Some(BAR_STEPS), ProgressDrawTarget::stderr());
    let template = "{prefix} {bar:40} {percent:>3}% {msg}";
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style);
    }
    bar.set_prefix(site.to_owned());
    bar
}

async fn status(sites: &Sites, client: &Client, output: Output) -> Result<(), ExitError> {
    for site in &sites.sites {
        let document = client.get(&path_of(site)).await?;
        output.print(&document, render)?;
    }
    Ok(())
}

async fn diff(wanted: &Diff, client: &Client, output: Output) -> Result<(), ExitError> {
    let (range, by) = (encoded(&wanted.range), encoded(&wanted.by));
    let path = format!("{}/diff?range={range}&by={by}", path_of(&wanted.site));
    let difference = client.get(&path).await?;
    output.print(&difference, |difference| {
        render_diff(difference, wanted.all)
    })
}

fn path_of(site: &str) -> String {
    format!("/api/v1/sites/{}/reprocess", encoded(site))
}

fn render(document: &Value) -> String {
    let columns = ["site", "role", "generation", "state", "label", "created"];
    let rows = ["serving", "former", "next"]
        .into_iter()
        .filter_map(|role| {
            let record = document.get(role).filter(|record| !record.is_null())?;
            let state = match role {
                "next" => state_of(record),
                _ => "fed".to_owned(),
            };
            Some(vec![
                field(document, "site"),
                role.to_owned(),
                field(record, "generation"),
                state,
                field(record, "label"),
                field(record, "created"),
            ])
        });
    table(&columns, &rows.collect::<Vec<_>>())
}

fn state_of(next: &Value) -> String {
    let share = next.get("progress").and_then(Value::as_f64).unwrap_or(0.0);
    let is = |name: &str| next.get(name) == Some(&Value::Bool(true));
    match (is("is_complete"), is("is_paused")) {
        (true, _) => "built".to_owned(),
        (false, true) => format!("paused at {:.0} %", share * 100.0),
        (false, false) => format!("built to {:.0} %", share * 100.0),
    }
}

/// A line for each metric of each row.
fn render_diff(difference: &Value, shows_all: bool) -> String {
    let list = |value: &Value, name: &str| -> Vec<Value> {
        let list = value.get(name).and_then(Value::as_array);
        list.cloned().unwrap_or_default()
    };
    let metrics = list(difference, "metrics");
    let mut lines = Vec::new();
    for row in list(difference, "rows") {
        let labels: Vec<String> = list(&row, "dimensions").iter().map(text).collect();
        let (before, after) = (list(&row, "before"), list(&row, "after"));
        for (position, metric) in metrics.iter().enumerate() {
            let of = |values: &[Value]| values.get(position).cloned().unwrap_or_default();
            let (before, after) = (of(&before), of(&after));
            if before == after && !shows_all {
                continue;
            }
            lines.push(vec![
                labels.join(", "),
                text(metric),
                text(&before),
                text(&after),
                change(&before, &after),
            ]);
        }
    }
    match lines.is_empty() {
        true => "nothing differs".to_owned(),
        false => table(&["of", "metric", "before", "after", "change"], &lines),
    }
}

fn text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Null => "-".to_owned(),
        other => other.to_string(),
    }
}

fn change(before: &Value, after: &Value) -> String {
    match (before.as_f64(), after.as_f64()) {
        (Some(before), Some(after)) if before != 0.0 => {
            format!("{:+.1} %", (after - before) / before * 100.0)
        }
        _ => "-".to_owned(),
    }
}

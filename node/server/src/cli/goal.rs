//! `ringtail goal …`

use clap::{Args, Subcommand};
use serde_json::json;

use super::{
    client::{Client, encoded},
    output::{Output, field, listing},
};
use crate::exit::ExitError;

#[derive(Args)]
pub(super) struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Add a goal; it counts from now on.
    Add {
        /// The site's domain.
        #[arg(long, value_name = "DOMAIN")]
        site: String,
        /// Name of the goal.
        name: String,
        /// Events of this name meet the goal.
        #[arg(
            long,
            value_name = "NAME",
            conflicts_with = "page",
            required_unless_present = "page"
        )]
        event: Option<String>,
        /// Views of pages of this pattern meet the goal; `*` stands for a run without `/`, `**` for any run.
        #[arg(long, value_name = "PATTERN")]
        page: Option<String>,
    },
    /// List the goals of a site.
    List {
        /// The site's domain.
        #[arg(long, value_name = "DOMAIN")]
        site: String,
    },
}

pub(super) async fn run(
    arguments: Arguments,
    client: &Client,
    output: Output,
) -> Result<(), ExitError> {
    match arguments.command {
        Command::Add {
            site,
            name,
            event,
            page,
        } => {
            let path = format!("/api/v1/sites/{}/goals", encoded(&site));
            let body = json!({"name": name, "event": event, "page": page});
            let goal = client.post(&path, &body).await?;
            output.print(&goal, |goal| {
                format!("added goal {} ({})", field(goal, "name"), field(goal, "id"))
            })
        }
        Command::List { site } => {
            let path = format!("/api/v1/sites/{}/goals", encoded(&site));
            let goals = client.get(&path).await?;
            output.print(&goals, |goals| {
                listing(goals, "goals", &["id", "name", "event", "page", "since"])
            })
        }
    }
}

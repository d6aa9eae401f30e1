//! `ringtail site …`

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
    /// Add a site.
    Add {
        /// Its domain, for example `example.com`.
        domain: String,
        /// IANA name of the zone of its days.
        #[arg(long, value_name = "TZ", default_value = "UTC")]
        timezone: String,
    },
    /// List all sites.
    List,
    /// Give a site another domain; its history stays.
    Rename {
        /// The domain now.
        domain: String,
        /// The domain from now on.
        to: String,
    },
    /// Stop counting a site, or go on with it.
    Pause {
        /// The site's domain.
        domain: String,
        /// Go on.
        #[arg(long)]
        resume: bool,
    },
}

pub(super) async fn run(
    arguments: Arguments,
    client: &Client,
    output: Output,
) -> Result<(), ExitError> {
    match arguments.command {
        Command::Add { domain, timezone } => {
            let body = json!({"domain": domain, "timezone": timezone});
            let site = client.post("/api/v1/sites", &body).await?;
            output.print(&site, |site| {
                format!(
                    "added {} ({})",
                    field(site, "domain"),
                    field(site, "timezone")
                )
            })
        }
        Command::List => {
            let sites = client.get("/api/v1/sites").await?;
            output.print(&sites, |sites| {
                listing(sites, "sites", &["domain", "timezone", "paused", "id"])
            })
        }
        Command::Rename { domain, to } => {
            let path = format!("/api/v1/sites/{}", encoded(&domain));
            let site = client.patch(&path, &json!({"domain": to})).await?;
            output.print(&site, |site| {
                format!("{domain} is now {}", field(site, "domain"))
            })
        }
        Command::Pause { domain, resume } => {
            let path = format!("/api/v1/sites/{}", encoded(&domain));
            let site = client.patch(&path, &json!({"paused": !resume})).await?;
            output.print(&site, |site| {
                let state = if resume { "counts again" } else { "is paused" };
                format!("{} {state}", field(site, "domain"))
            })
        }
    }
}

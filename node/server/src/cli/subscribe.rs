//! `ringtail subscribe`: events as lines of JSON.

use clap::Args;

use super::{
    client::{Client, encoded},
    output::Output,
};
use crate::exit::ExitError;

#[derive(Args)]
pub(super) struct Arguments {
    /// Domain of the site; without it all sites.
    #[arg(long, value_name = "DOMAIN")]
    site: Option<String>,
    /// Where to begin: `first`, `now`, or the cursor that an earlier run printed last.
    #[arg(long, value_name = "POSITION", default_value = "first")]
    from: String,
    /// Also duplicates, and events that were dropped and kept for repair.
    #[arg(long)]
    every_verdict: bool,
}

pub(super) async fn run(
    arguments: Arguments,
    client: &Client,
    _output: Output,
) -> Result<(), ExitError> {
    let mut path = format!("/api/v1/subscribe?from={}", encoded(&arguments.from));
    if let Some(site) = &arguments.site {
        path = format!("{path}&site={}", encoded(site));
    }
    if arguments.every_verdict {
        path = format!("{path}&every_verdict=true");
    }
    client.stream(&path).await
}

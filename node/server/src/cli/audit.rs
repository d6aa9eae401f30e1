//! `ringtail audit`: who changed what.

use clap::Args;

use super::{
    client::Client,
    output::{Output, listing},
};
use crate::exit::ExitError;

#[derive(Args)]
pub(super) struct Arguments {
    /// How many of the newest changes.
    #[arg(long, default_value_t = 50)]
    limit: usize,
}

pub(super) async fn run(
    arguments: Arguments,
    client: &Client,
    output: Output,
) -> Result<(), ExitError> {
    let path = format!("/api/v1/audit?limit={}", arguments.limit);
    let audit = client.get(&path).await?;
    let columns = ["at", "who", "what", "why", "refused"];
    output.print(&audit, |audit| listing(audit, "records", &columns))
}

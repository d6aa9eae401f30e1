//! `ringtail event ID`

use clap::Args;

use super::{
    client::{Client, encoded},
    output::{Output, field, table},
};
use crate::exit::ExitError;

#[derive(Args)]
pub(super) struct Arguments {
    /// The event's id, a UUID.
    id: String,
    /// The site's domain.
    #[arg(long, value_name = "DOMAIN")]
    site: String,
}

pub(super) async fn run(
    arguments: Arguments,
    client: &Client,
    output: Output,
) -> Result<(), ExitError> {
    let path = format!(
        "/api/v1/events/{}?site={}",
        encoded(&arguments.id),
        encoded(&arguments.site)
    );
    let event = client.get(&path).await?;
    output.print(&event, |event| {
        let rows: Vec<Vec<String>> = event
            .as_object()
            .into_iter()
            .flatten()
            .map(|(name, _)| vec![name.clone(), field(event, name)])
            .collect();
        table(&["field", "value"], &rows)
    })
}

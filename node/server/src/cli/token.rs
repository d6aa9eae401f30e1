//! `ringtail token …`

use clap::{Args, Subcommand};
use serde_json::json;

use super::{
    client::Client,
    output::{Output, field},
};
use crate::exit::ExitError;

#[derive(Args)]
pub(super) struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Make a token with which one node may join; its text is shown this once.
    Create {
        /// A name to know it by.
        #[arg(long, default_value = "")]
        name: String,
        /// Hours until it expires.
        #[arg(long, value_name = "HOURS", default_value_t = 24)]
        expires_hours: u32,
    },
}

pub(super) async fn run(
    arguments: Arguments,
    client: &Client,
    output: Output,
) -> Result<(), ExitError> {
    let Command::Create {
        name,
        expires_hours,
    } = arguments.command;
    let body = json!({"name": name, "expires_hours": expires_hours});
    let token = client.post("/api/v1/ring/tokens", &body).await?;
    output.print(&token, |token| field(token, "token"))
}

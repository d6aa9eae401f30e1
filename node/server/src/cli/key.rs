//! `ringtail key …`

use clap::{Args, Subcommand, ValueEnum};
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

#[derive(Clone, Copy, ValueEnum)]
enum Scope {
    /// Ask for reports.
    Read,
    /// Send events with their own visitor, address and user agent; import.
    Write,
    /// Everything.
    Admin,
}

#[derive(Subcommand)]
enum Command {
    /// Add a key; its secret is shown this once.
    Add {
        /// The site's domain; without it the key reaches all sites.
        #[arg(long, value_name = "DOMAIN")]
        site: Option<String>,
        /// What the key may do.
        #[arg(long)]
        scope: Scope,
        /// A name to know it by.
        #[arg(long, default_value = "")]
        name: String,
        /// Days until it expires; without it, it does not.
        #[arg(long, value_name = "DAYS")]
        expires_days: Option<u32>,
    },
    /// List all keys.
    List,
    /// Make a key useless.
    Revoke {
        /// The key's id, not its secret.
        id: String,
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
            scope,
            name,
            expires_days,
        } => {
            let scope = match scope {
                Scope::Read => "read",
                Scope::Write => "write",
                Scope::Admin => "admin",
            };
            let body = json!({
                "site": site, "scope": scope, "name": name, "expires_days": expires_days,
            });
            let key = client.post("/api/v1/keys", &body).await?;
            output.print(&key, |key| field(key, "secret"))
        }
        Command::List => {
            let keys = client.get("/api/v1/keys").await?;
            let columns = [
                "id",
                "name",
                "scope",
                "site",
                "last_used",
                "expires",
                "revoked",
            ];
            output.print(&keys, |keys| listing(keys, "keys", &columns))
        }
        Command::Revoke { id } => {
            let path = format!("/api/v1/keys/{}", encoded(&id));
            let key = client.delete(&path).await?;
            output.print(&key, |key| format!("revoked {}", field(key, "id")))
        }
    }
}

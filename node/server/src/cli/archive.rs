//! `ringtail archive`: what the archive holds, and whether it is what it should be.

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::{
    client::Client,
    output::{Output, field, listing, remark},
};
use crate::exit::{Exit, ExitError};

#[derive(Args)]
pub(super) struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// List the objects of the groups that the node has.
    Ls {
        /// Print only where they are, one a line: what SQL should read.
        #[arg(long)]
        paths: bool,
    },
    /// Read all of them and say what is wrong.
    Verify,
    /// Seal what is settled of the groups that the node leads, little as it may be.
    Seal,
}

pub(super) async fn run(
    arguments: Arguments,
    client: &Client,
    output: Output,
) -> Result<(), ExitError> {
    match arguments.command {
        Command::Ls { paths } => list(client, output, paths).await,
        Command::Verify => verify(client, output).await,
        Command::Seal => {
            let round = client.post("/api/v1/archive/seal", &json!({})).await?;
            output.print(&round, |round| {
                let (seals, failures) = (field(round, "seals"), field(round, "failures"));
                format!("seals: {seals}, groups that could not be sealed: {failures}")
            })
        }
    }
}

async fn list(client: &Client, output: Output, paths: bool) -> Result<(), ExitError> {
    let archive = client.get("/api/v1/archive").await?;
    if archive.get("is_reached") == Some(&Value::Bool(false)) {
        remark("the archive is not reached, or there is none");
    }
    let groups = archive.get("groups").and_then(Value::as_array);
    let objects = groups.into_iter().flatten().flat_map(|group| {
        let objects = group.get("objects").and_then(Value::as_array);
        objects.into_iter().flatten().cloned()
    });
    let objects: Vec<Value> = objects.collect();
    if paths {
        let location = archive.get("location").and_then(Value::as_str);
        let location = location.unwrap_or_default();
        let location = location.split('?').next().unwrap_or_default();
        let location = location.trim_start_matches("file://").trim_end_matches('/');
        let paths = objects.iter().map(|object| field(object, "path"));
        let paths: Vec<String> = paths.map(|path| format!("{location}/{path}")).collect();
        return output.print(&json!(paths), |_| paths.join("\n"));
    }
    let shown = json!({ "objects": objects });
    output.print(&archive, |_| {
        listing(&shown, "objects", &["rows", "bytes", "from", "to", "path"])
    })
}

async fn verify(client: &Client, output: Output) -> Result<(), ExitError> {
    let verified = client.post("/api/v1/archive/verify", &json!({})).await?;
    output.print(&verified, |verified| {
        listing(
            verified,
            "objects",
            &["error", "is_replaced", "rows", "bytes", "path"],
        )
    })?;
    match verified.get("wrong").and_then(Value::as_u64) {
        Some(0) => Ok(()),
        wrong => {
            let message = format!("{} objects are not what they should be", wrong.unwrap_or(1));
            Err(ExitError::new(Exit::Failure, message))
        }
    }
}

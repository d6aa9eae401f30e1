//! `ringtail store`: what has to be done in ScyllaDB or Cassandra itself; no node is asked.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use ringtail_checkpoint::cassandra::{self, MirrorError, Replication};
use serde_json::json;

use super::output::{Output, field};
use crate::{
    config::{Config, Flags},
    data_directory::read_identity,
    exit::{Exit, ExitError},
    wiring::mirror_options,
};

#[derive(Args)]
pub(super) struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Make keyspace and tables for this ring's checkpoints; what is there already is left as it is.
    Init(Init),
}

#[derive(Args)]
struct Init {
    /// Servers that hold each row: `3`, or by data centre `east=3,west=3`.
    #[arg(long, value_name = "REPLICAS", value_parser = replication)]
    replication: Replication,
    /// Configuration file (TOML) of the node, which names servers and keyspace.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Data directory of a node of the ring; its identity tells which ring it is.
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

impl Arguments {
    pub(super) fn run(self) -> Result<(), ExitError> {
        let Command::Init(init) = self.command;
        init.run()
    }
}

impl Init {
    fn run(self) -> Result<(), ExitError> {
        let flags = Flags {
            data_directory: self.data_dir,
            ..Flags::default()
        };
        let config = Config::load(self.config, &flags)?;
        let Some(options) = mirror_options(&config)? else {
            let message = "the configuration names no mirror_nodes";
            return Err(ExitError::new(Exit::Usage, message));
        };
        let Some(identity) = read_identity(&config.data_directory)? else {
            let message = format!(
                "{} belongs to no ring yet: start the node once, it need not reach the servers",
                config.data_directory.display()
            );
            return Err(ExitError::new(Exit::Usage, message));
        };
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| ExitError::new(Exit::Failure, error))?;
        let made = cassandra::init(&options, &self.replication, identity.cluster);
        runtime.block_on(made).map_err(refused)?;
        let done = json!({
            "keyspace": options.keyspace,
            "cluster": identity.cluster,
            "schema": cassandra::SCHEMA_VERSION,
        });
        let output = Output { is_json: self.json };
        output.print(&done, |done| {
            let (keyspace, cluster) = (field(done, "keyspace"), field(done, "cluster"));
            format!("keyspace {keyspace} belongs to cluster {cluster}")
        })
    }
}

fn refused(error: MirrorError) -> ExitError {
    let exit = match &error {
        error if error.is_outage() => Exit::Unreachable,
        MirrorError::BadOptions { .. } => Exit::Usage,
        _ => Exit::Refused,
    };
    ExitError::new(exit, error)
}

/// Reads `3` or `east=3,west=2`.
fn replication(text: &str) -> Result<Replication, String> {
    if let Ok(replicas) = text.parse() {
        return Ok(Replication::Simple(replicas));
    }
    let datacenter = |part: &str| {
        let (name, replicas) = part.split_once('=')?;
        Some((name.trim().to_owned(), replicas.trim().parse().ok()?))
    };
    let datacenters: Option<_> = text.split(',').map(datacenter).collect();
    let message = "a number of replicas is wanted, or some by data centre: 3, or east=3,west=2";
    datacenters
        .map(Replication::Datacenters)
        .ok_or_else(|| message.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replication_is_a_number_or_one_for_each_data_centre() {
        assert_eq!(replication("3"), Ok(Replication::Simple(3)));
        let datacenters = [("east".to_owned(), 3), ("west".to_owned(), 2)].into();
        let expect = Replication::Datacenters(datacenters);
        assert_eq!(replication("east=3, west=2"), Ok(expect));
        for text in ["", "east", "east=", "east=x", "300", "east=3,"] {
            assert!(replication(text).is_err(), "{text:?}");
        }
    }
}

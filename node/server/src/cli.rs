//! The command line: what can be typed, and where it goes. Data on stdout, everything else on stderr.

mod archive;
mod audit;
mod client;
mod event;
mod goal;
mod import;
mod key;
mod output;
mod query;
mod reprocess;
mod ring;
mod site;
mod status;
mod store;
mod subscribe;
mod token;

use std::{net::SocketAddr, path::PathBuf, process::ExitCode};

use clap::{Args, Parser, Subcommand};

use crate::{
    config::{Config, Flags},
    exit::{Exit, ExitError},
    ring::JoinOptions,
};

use client::Client;
use output::Output;

/// Web and product analytics: one binary, identical nodes.
#[derive(Parser)]
#[command(name = "ringtail", version, disable_help_subcommand = true)]
struct CommandLine {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run a node.
    Serve(ServeArguments),
    /// Add, list, rename and pause sites.
    Site(Remote<site::Arguments>),
    /// Add and list goals.
    Goal(Remote<goal::Arguments>),
    /// Add, list and revoke keys.
    Key(Remote<key::Arguments>),
    /// Import history.
    Import(Remote<import::Arguments>),
    /// Ask for a report.
    Query(Remote<query::Arguments>),
    /// Tell what became of one event.
    Event(Remote<event::Arguments>),
    /// Tell how the node is.
    Status(Remote<status::Arguments>),
    /// Make tokens for new nodes.
    Token(Remote<token::Arguments>),
    /// Move leaders and replicas away from a node, so that it can be stopped.
    Drain(Remote<ring::Drain>),
    /// Let a node that was drained take groups again.
    Activate(Remote<ring::Activate>),
    /// Take a node out of the ring for good.
    Remove(Remote<ring::Remove>),
    /// Show where groups would move.
    Rebalance(Remote<ring::Rebalance>),
    /// Set how many replicas a group has at most.
    Replicas(Remote<ring::Replicas>),
    /// List, verify and seal objects of the archive.
    Archive(Remote<archive::Arguments>),
    /// Follow events as they are counted; prints lines of JSON.
    Subscribe(Remote<subscribe::Arguments>),
    /// Prepare ScyllaDB or Cassandra for the mirror of checkpoints.
    Store(store::Arguments),
    /// Derive a site's history anew under other rules.
    Reprocess(Remote<reprocess::Arguments>),
    /// Tell who changed what, when and why.
    Audit(Remote<audit::Arguments>),
}

#[derive(Args)]
struct ServeArguments {
    /// Configuration file (TOML).
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Where everything that the node stores lives.
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// Address of HTTP; port 0 picks one.
    #[arg(long, value_name = "ADDR")]
    http: Option<SocketAddr>,
    /// Address of gRPC; port 0 picks one.
    #[arg(long, value_name = "ADDR")]
    grpc: Option<SocketAddr>,
    /// Address for the other nodes of the ring; port 0 picks one.
    #[arg(long, value_name = "ADDR")]
    peer: Option<SocketAddr>,
    /// Where the node stands, for example a rack; replicas avoid sharing it.
    #[arg(long, value_name = "NAME")]
    zone: Option<String>,
    /// Join the ring of the node at this peer address, the first time.
    #[arg(long, value_name = "HOST:PORT", requires = "token")]
    join: Option<String>,
    /// The token of `ringtail token create`.
    #[arg(long, env = "RINGTAIL_JOIN_TOKEN", hide_env_values = true)]
    token: Option<String>,
}

/// A command that talks to a server.
#[derive(Args)]
struct Remote<A: Args> {
    #[command(flatten)]
    server: ServerArguments,
    #[command(flatten)]
    arguments: A,
}

/// Which server, and with which right.
#[derive(Args)]
struct ServerArguments {
    /// Address of the server, for example `http://127.0.0.1:8080`.
    #[arg(long, global = true, value_name = "URL")]
    server: Option<String>,
    /// Key, or the admin token.
    #[arg(long, global = true, env = "RINGTAIL_TOKEN", hide_env_values = true)]
    token: Option<String>,
    /// Data directory of a node on this machine: finds its address and its admin token.
    #[arg(long, global = true, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// Print JSON.
    #[arg(long, global = true)]
    json: bool,
}

/// Runs the command line of this process.
#[must_use]
pub fn run() -> ExitCode {
    let command_line = match CommandLine::try_parse() {
        Ok(command_line) => command_line,
        Err(error) => {
            let is_error = error.use_stderr();
            // Nothing is left to tell when even this cannot be printed.
            let _ = error.print();
            return if is_error {
                Exit::Usage.into()
            } else {
                ExitCode::SUCCESS
            };
        }
    };
    match command_line.command.run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            output::complain(&error);
            error.exit.into()
        }
    }
}

impl Command {
    fn run(self) -> Result<(), ExitError> {
        match self {
            Self::Serve(arguments) => arguments.run(),
            Self::Site(command) => command.run(site::run),
            Self::Goal(command) => command.run(goal::run),
            Self::Key(command) => command.run(key::run),
            Self::Import(command) => command.run(import::run),
            Self::Query(command) => command.run(query::run),
            Self::Event(command) => command.run(event::run),
            Self::Status(command) => command.run(status::run),
            Self::Token(command) => command.run(token::run),
            Self::Drain(command) => command.run(ring::drain),
            Self::Activate(command) => command.run(ring::activate),
            Self::Remove(command) => command.run(ring::remove),
            Self::Rebalance(command) => command.run(ring::rebalance),
            Self::Replicas(command) => command.run(ring::replicas),
            Self::Archive(command) => command.run(archive::run),
            Self::Subscribe(command) => command.run(subscribe::run),
            Self::Store(arguments) => arguments.run(),
            Self::Reprocess(command) => command.run(reprocess::run),
            Self::Audit(command) => command.run(audit::run),
        }
    }
}

impl ServeArguments {
    fn run(self) -> Result<(), ExitError> {
        let flags = Flags {
            data_directory: self.data_dir,
            http_address: self.http,
            grpc_address: self.grpc,
            peer_address: self.peer,
            zone: self.zone,
        };
        let config = Config::load(self.config, &flags)?;
        let join = self
            .join
            .zip(self.token)
            .map(|(address, token)| JoinOptions {
                address,
                token,
                zone: config.zone.clone(),
                feature_level: crate::ring::FEATURE_LEVEL.min(config.feature_level_max),
            });
        crate::serve::serve(config, join)
    }
}

impl<A: Args> Remote<A> {
    fn run(
        self,
        command: impl AsyncFnOnce(A, &Client, Output) -> Result<(), ExitError>,
    ) -> Result<(), ExitError> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| ExitError::new(Exit::Failure, error))?;
        let client = Client::connect(&self.server)?;
        let output = Output {
            is_json: self.server.json,
        };
        runtime.block_on(command(self.arguments, &client, output))
    }
}

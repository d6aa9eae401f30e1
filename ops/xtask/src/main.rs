//! `cargo xtask`: the commands that the house is run with. `verify` only reads; `fix` may write; `test` is the gate.
//!
//! It deliberately knows nothing of the product's crates: it starts `cargo`, `npm` and the built binary like a person would.

#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a command line tool speaks to its terminal"
)]

mod bench;
mod build;
mod cassandra;
mod chaos;
mod children;
mod cluster;
mod demo;
mod ops;
mod prerequisites;
mod run;
mod steps;
mod test;
mod verify;
mod workspace;

use std::{ffi::OsString, path::PathBuf, process::ExitCode};

use clap::Parser;

use workspace::Workspace;

/// The commands of the house.
#[derive(Parser)]
#[command(bin_name = "cargo xtask")]
enum Command {
    /// Read-only gate: format, lints, dependency direction, documentation, lock files, layout, links.
    Verify,
    /// Formats and applies the fixes that the compiler is sure of.
    Fix,
    /// Installs or names what is missing, then runs every test.
    Test,
    /// Builds the web files and the binary.
    Build {
        /// With optimisation.
        #[arg(long)]
        release: bool,
        /// Only the binary with the switch for planted bugs, at `planted/ringtail` of the profile's folder.
        #[arg(long, conflicts_with = "release")]
        planted: bool,
    },
    /// Starts a node, imports the sample access log, serves until ctrl-C.
    Demo {
        /// Stops after the import.
        #[arg(long)]
        once: bool,
        /// Where the node keeps its data.
        #[arg(long, default_value = "ringtail-data")]
        data_dir: PathBuf,
    },
    /// Starts a ring of nodes on loopback, or the same ring again from its data; serves until ctrl-C.
    Cluster {
        /// How many nodes.
        #[arg(long, default_value_t = 3)]
        nodes: usize,
        /// Where the nodes keep their data, a folder for each.
        #[arg(long, default_value = "ringtail-cluster")]
        data_dir: PathBuf,
        /// Stops when the ring is settled.
        #[arg(long)]
        once: bool,
    },
    /// Starts a real Apache Cassandra on loopback, prints its addresses; serves until ctrl-C.
    Cassandra {
        /// How many nodes: 1 or 3.
        #[arg(long, default_value_t = 1)]
        nodes: usize,
        /// Where the nodes keep their data; removed at the end when not given.
        #[arg(long)]
        dir: Option<PathBuf>,
    },
    /// Measures the figures of speed and prints them as one JSON document.
    Bench {
        /// Names of the figures; all but `cold_build` when none is given.
        figures: Vec<String>,
    },
    /// Tests HAProxy, Keepalived, Prometheus rules and the dashboard with Debian's programs and a ring of real nodes.
    Ops {
        /// Plants faults in their configuration instead; each must be found.
        #[arg(long)]
        planted: bool,
    },
    /// Runs the workload against a ring of real nodes under faults, or a single node that is killed again and again.
    #[command(disable_help_flag = true)]
    Chaos {
        /// What is run and for how long; `--help` shows it, after a build.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        options: Vec<OsString>,
    },
}

fn main() -> ExitCode {
    match run(Command::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(command: Command) -> anyhow::Result<()> {
    let workspace = Workspace::find()?;
    match command {
        Command::Verify => verify::verify(&workspace),
        Command::Fix => verify::fix(&workspace),
        Command::Test => test::test(&workspace),
        Command::Build { planted: true, .. } => build::planted_binary(&workspace).map(drop),
        Command::Build { release, .. } => {
            build::front_ends(&workspace)?;
            let binary = build::binary(&workspace, release)?;
            println!("{}", binary.display());
            Ok(())
        }
        Command::Demo { once, data_dir } => demo::demo(&workspace, &data_dir, once),
        Command::Ops { planted } => ops::ops(&workspace, planted),
        Command::Cluster {
            nodes,
            data_dir,
            once,
        } => cluster::cluster(&workspace, nodes, &data_dir, once),
        Command::Cassandra { nodes, dir } => {
            cassandra::cassandra(&workspace, nodes, dir.as_deref())
        }
        Command::Bench { figures } => bench::bench(&workspace, &figures),
        Command::Chaos { options } => chaos::chaos(&workspace, &options),
    }
}

//! `cargo xtask chaos`: the long form of the chaos tests.

use clap::Args;

use crate::{
    prerequisites,
    run::{cargo, command, run},
    workspace::Workspace,
};

/// What is run and for how long.
#[derive(Args)]
pub(crate) struct Arguments {
    /// Seed of the workload and the faults; a run prints its own.
    #[arg(long)]
    seed: Option<u64>,
    /// How long to go on.
    #[arg(long, default_value_t = 10)]
    minutes: u32,
    /// Nodes of the ring; 1 kills and restarts a single node.
    #[arg(long, default_value_t = 3)]
    nodes: u32,
    /// Only these faults; all when none is given.
    #[arg(long, value_name = "NAME", num_args = 1..)]
    fault: Vec<String>,
    /// No network namespaces, also where they are permitted: loopback and proxies between the nodes.
    #[arg(long)]
    loopback: bool,
}

/// Builds with optimisation, then loads and breaks the nodes for the given time.
pub(crate) fn chaos(workspace: &Workspace, arguments: &Arguments) -> anyhow::Result<()> {
    prerequisites::for_chaos();
    // One command, so that both share the features of their dependencies and nothing is compiled twice.
    run(&mut cargo(
        &workspace.root,
        &[
            "build",
            "--release",
            "--package",
            "ringtail-server",
            "--package",
            "ringtail-chaos",
        ],
    ))?;
    let driver = workspace.target.join("release/ringtail-chaos");
    let mut chaos = command(&workspace.root, driver, &[]);
    chaos.env("RINGTAIL_BIN", workspace.binary("release"));
    chaos.args(["--minutes", &arguments.minutes.to_string()]);
    chaos.args(["--nodes", &arguments.nodes.to_string()]);
    if let Some(seed) = arguments.seed {
        chaos.args(["--seed", &seed.to_string()]);
    }
    for fault in &arguments.fault {
        chaos.args(["--fault", fault]);
    }
    if arguments.loopback {
        chaos.arg("--loopback");
    }
    run(&mut chaos)
}

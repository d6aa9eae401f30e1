//! `cargo xtask chaos`: the long form of the chaos tests.

use std::ffi::OsString;

use crate::{
    prerequisites,
    run::{cargo, command, run},
    workspace::Workspace,
};

/// Builds with optimisation, then loads and breaks the nodes. The options are the driver's own, handed on as they are: a
/// command that it prints for a replay works here without a second list of them.
pub(crate) fn chaos(workspace: &Workspace, options: &[OsString]) -> anyhow::Result<()> {
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
    chaos.args(options);
    run(&mut chaos)
}

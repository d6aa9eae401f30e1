//! `cargo xtask chaos`: the long form of the kill and restart test.

use crate::{
    build,
    run::{cargo, run},
    workspace::Workspace,
};

/// Builds the binary, then kills and restarts it under load for the given time.
pub(crate) fn chaos(workspace: &Workspace, seed: Option<u64>, minutes: u32) -> anyhow::Result<()> {
    let binary = build::binary(workspace, false)?;
    let mut command = cargo(
        &workspace.root,
        &[
            "run",
            "--quiet",
            "--package",
            "ringtail-chaos",
            "--bin",
            "ringtail-chaos",
            "--",
        ],
    );
    command.env("RINGTAIL_BIN", binary);
    command.args(["--minutes", &minutes.to_string()]);
    if let Some(seed) = seed {
        command.args(["--seed", &seed.to_string()]);
    }
    run(&mut command)
}

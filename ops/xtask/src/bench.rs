//! `cargo xtask bench`: builds with optimisation, then lets `ringtail-bench` measure.

use crate::{
    build, prerequisites,
    run::{cargo, run},
    workspace::Workspace,
};

/// Measures the named figures, or all.
pub(crate) fn bench(workspace: &Workspace, figures: &[String]) -> anyhow::Result<()> {
    if figures.iter().any(|figure| figure.starts_with("nats")) {
        prerequisites::for_nats()?;
    }
    build::front_ends(workspace)?;
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
    let generator = workspace.target.join("release/ringtail-bench");
    run(crate::run::command(&workspace.root, generator, &[])
        .args(figures)
        .env("RINGTAIL_BIN", workspace.binary("release")))
}

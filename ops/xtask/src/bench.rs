//! `cargo xtask bench`: builds with optimisation, then lets `ringtail-bench` measure.

use crate::{
    build, prerequisites,
    run::{cargo, run},
    workspace::Workspace,
};

/// Measures the named figures, or all.
pub(crate) fn bench(workspace: &Workspace, figures: &[String]) -> anyhow::Result<()> {
    let is_nats = figures.iter().any(|figure| figure.starts_with("nats"));
    let nats = is_nats.then(|| prerequisites::nats_server(&workspace.target.join("tools")));
    let nats = nats.transpose()?;
    build::front_ends(workspace)?;
    // Two commands: what the simulator needs of the libraries must not come into the binary that is measured.
    for package in ["ringtail-server", "ringtail-chaos"] {
        let build = ["build", "--release", "--package", package];
        run(&mut cargo(&workspace.root, &build))?;
    }
    let generator = workspace.target.join("release/ringtail-bench");
    run(crate::run::command(&workspace.root, generator, &[])
        .args(figures)
        .envs(nats.map(|program| ("RINGTAIL_NATS_SERVER", program)))
        .env("RINGTAIL_BIN", workspace.binary("release")))
}

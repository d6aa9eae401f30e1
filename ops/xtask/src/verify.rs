//! `cargo xtask verify`: what can be said about the sources without running them. It writes nothing but build results.

mod dependencies;
mod layout;
mod links;
mod tracked;

use anyhow::bail;

use crate::{
    run::{cargo, run},
    steps::Steps,
    workspace::Workspace,
};

/// All checks; goes on after a failure, so that one run tells all.
pub(crate) fn verify(workspace: &Workspace) -> anyhow::Result<()> {
    let root = &workspace.root;
    let files = tracked::files(root)?;
    let mut steps = Steps::new("verify");
    steps.run("format", || {
        run(&mut cargo(root, &["fmt", "--all", "--check"]))
    });
    steps.run("layout", || none(layout::violations(&files)));
    steps.run("dependency direction", || {
        none(dependencies::violations(&dependencies::packages(workspace)))
    });
    steps.run("lock files", || {
        none(tracked::lock_file_violations(root, &files)?)
    });
    steps.run("machine names", || {
        none(tracked::machine_names(root, &files)?)
    });
    steps.run("links", || none(links::broken(root, &files)?));
    steps.run("lints", || {
        run(&mut cargo(
            root,
            &[
                "clippy",
                "--workspace",
                "--all-targets",
                "--quiet",
                "--",
                "--deny",
                "warnings",
            ],
        ))
    });
    steps.run("documentation", || {
        run(cargo(root, &["doc", "--workspace", "--no-deps", "--quiet"])
            .env("RUSTDOCFLAGS", "--deny warnings"))
    });
    steps.finish()
}

/// What may be repaired by machine.
pub(crate) fn fix(workspace: &Workspace) -> anyhow::Result<()> {
    let root = &workspace.root;
    run(&mut cargo(
        root,
        &[
            "clippy",
            "--workspace",
            "--all-targets",
            "--fix",
            "--allow-dirty",
            "--allow-staged",
        ],
    ))?;
    run(&mut cargo(root, &["fmt", "--all"]))
}

fn none(violations: Vec<String>) -> anyhow::Result<()> {
    if violations.is_empty() {
        return Ok(());
    }
    bail!("{}", violations.join("\n"))
}

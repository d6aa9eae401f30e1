//! Builds the web files, then the binary that embeds them.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::Context;

use crate::{
    prerequisites,
    run::{cargo, command, run},
    workspace::{FRONT_ENDS, Workspace},
};

/// Installs npm packages where the lock file asks for others than are there, then builds both front ends.
pub(crate) fn front_ends(workspace: &Workspace) -> anyhow::Result<()> {
    prerequisites::for_build()?;
    for front_end in FRONT_ENDS {
        let folder = workspace.root.join(front_end);
        if !is_installed(&folder) {
            run(&mut command(&folder, "npm", &["ci"]))?;
        }
        run(&mut command(&folder, "npm", &["run", "build"]))?;
    }
    Ok(())
}

/// npm notes what it installed; a lock file changed since then asks for a new installation.
fn is_installed(folder: &Path) -> bool {
    let changed = |path: &Path| fs::metadata(path).and_then(|metadata| metadata.modified());
    let installed = changed(&folder.join("node_modules/.package-lock.json"));
    let asked = changed(&folder.join("package-lock.json"));
    matches!((installed, asked), (Ok(installed), Ok(asked)) if installed >= asked)
}

/// Builds the binary and says where it is.
pub(crate) fn binary(workspace: &Workspace, is_release: bool) -> anyhow::Result<PathBuf> {
    let mut build = cargo(&workspace.root, &["build", "--package", "ringtail-server"]);
    if is_release {
        build.arg("--release");
    }
    run(&mut build)?;
    Ok(workspace.binary(if is_release { "release" } else { "debug" }))
}

/// Builds every target of the workspace's tests with one set of features, so that nothing is compiled twice.
pub(crate) fn tests(workspace: &Workspace) -> anyhow::Result<()> {
    run(&mut cargo(
        &workspace.root,
        &["build", "--workspace", "--lib", "--bins", "--tests"],
    ))
}

/// Builds the binary with the switch for planted bugs and puts it aside.
///
/// Same target folder, profile and dependencies: only the crates that see the feature compile again. The plain binary
/// is put back, because cargo places both at the same path.
pub(crate) fn planted_binary(workspace: &Workspace) -> anyhow::Result<PathBuf> {
    let planted = workspace.planted_binary();
    let built = workspace.binary("debug");
    run(&mut workspace_binaries(
        workspace,
        &["--features", "ringtail-server/planted-bugs"],
    ))?;
    copy_fresh(&built, &planted)?;
    run(&mut workspace_binaries(workspace, &[]))?;
    Ok(planted)
}

fn workspace_binaries(workspace: &Workspace, more: &[&str]) -> Command {
    let mut build = cargo(&workspace.root, &["build", "--workspace", "--bins"]);
    build.args(more);
    build
}

/// A new file each time: a process may still run the old one.
fn copy_fresh(from: &Path, to: &Path) -> anyhow::Result<()> {
    let folder = to.parent().context("the planted binary has a folder")?;
    fs::create_dir_all(folder).with_context(|| folder.display().to_string())?;
    let fresh = to.with_extension("fresh");
    fs::copy(from, &fresh).with_context(|| format!("copy {}", from.display()))?;
    fs::rename(&fresh, to).with_context(|| to.display().to_string())
}

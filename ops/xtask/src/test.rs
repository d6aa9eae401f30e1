//! `cargo xtask test`: every test there is, one table at the end.

use std::path::Path;

use crate::{
    build, children, prerequisites,
    run::{cargo, command, run},
    steps::Steps,
    workspace::{FRONT_ENDS, Workspace},
};

/// Runs every test; goes on after a failure, so that one run tells all.
pub(crate) fn test(workspace: &Workspace) -> anyhow::Result<()> {
    children::adopt_orphans()?;
    let mut steps = Steps::new("test");
    steps.run("prerequisites", prerequisites::for_tests);
    steps.run("web files", || build::front_ends(workspace));
    for front_end in FRONT_ENDS {
        steps.run(&format!("{front_end}: unit tests"), || {
            npm(workspace, front_end, "test")
        });
    }
    let is_planted = steps.run("binary with planted bugs", || {
        build::planted_binary(workspace).map(drop)
    });
    let is_built = is_planted && steps.run("build", || build::tests(workspace));
    if is_built {
        steps.run("cargo tests", || cargo_tests(workspace));
        steps.run("node/dashboard: browser tests", || {
            npm(workspace, "node/dashboard", "test:browser")
        });
    } else {
        steps.skip("cargo tests", "the build failed");
        steps.skip("node/dashboard: browser tests", "the build failed");
    }
    steps.finish()
}

/// Unit, integration and documentation tests of all crates; among them the access log against its recomputation and
/// the short seeds of the chaos tests.
fn cargo_tests(workspace: &Workspace) -> anyhow::Result<()> {
    run(
        cargo(&workspace.root, &["test", "--workspace", "--no-fail-fast"])
            .env("RINGTAIL_BIN", workspace.binary("debug"))
            .env("RINGTAIL_PLANTED_BIN", workspace.planted_binary()),
    )
}

fn npm(workspace: &Workspace, front_end: &str, script: &str) -> anyhow::Result<()> {
    let folder: &Path = &workspace.root.join(front_end);
    run(command(folder, "npm", &["run", script])
        .env("RINGTAIL_BIN", workspace.binary("debug"))
        .env("CHROMIUM", prerequisites::CHROMIUM))
}

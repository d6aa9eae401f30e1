//! `cargo xtask ops`: the tests of what stands in front of the nodes and of what looks at them, with Debian's programs.

use std::{path::Path, process::Command};

use crate::{
    build, children, prerequisites,
    run::{command, run},
    steps::Steps,
    workspace::Workspace,
};

/// Runs each test; with planted faults, each of which must be found, when asked for.
pub(crate) fn ops(workspace: &Workspace, is_planted: bool) -> anyhow::Result<()> {
    children::adopt_orphans()?;
    let mut steps = Steps::new("ops");
    steps.run("prerequisites", prerequisites::for_ops);
    if steps.run("build", || build::binary(workspace, false).map(drop)) {
        steps.run("haproxy before a ring", || {
            let mut test = script(workspace, "ops/haproxy/test", is_planted);
            // Its first argument is the binary.
            run(test.arg(workspace.binary("debug")))
        });
    } else {
        steps.skip("haproxy before a ring", "the build failed");
    }
    steps.run("keepalived", || {
        run(&mut script(workspace, "ops/keepalived/test", is_planted))
    });
    steps.run("prometheus and grafana", || {
        run(&mut script(workspace, "ops/prometheus/check", is_planted))
    });
    steps.finish()
}

fn script(workspace: &Workspace, path: &str, is_planted: bool) -> Command {
    let script: &Path = &workspace.root.join(path);
    let arguments: &[&str] = if is_planted { &["--planted"] } else { &[] };
    command(&workspace.root, script, arguments)
}

//! `cargo xtask cassandra`: a real Cassandra on loopback, for development.

use std::{ffi::OsString, os::unix::process::CommandExt, path::Path};

use anyhow::Context;

use crate::{
    prerequisites,
    run::{cargo, command, run},
    workspace::Workspace,
};

/// Builds the program that starts it, then is that program: the tests start Cassandra in the same way.
pub(crate) fn cassandra(
    workspace: &Workspace,
    nodes: usize,
    folder: Option<&Path>,
) -> anyhow::Result<()> {
    prerequisites::for_cassandra()?;
    run(&mut cargo(
        &workspace.root,
        &["build", "--package", "ringtail-local-cassandra"],
    ))?;
    let program = workspace.target.join("debug/local-cassandra");
    let mut arguments = vec![OsString::from("--nodes"), nodes.to_string().into()];
    if let Some(folder) = folder {
        arguments.extend(["--dir".into(), std::path::absolute(folder)?.into()]);
    }
    let mut server = command(&workspace.root, program, &[]);
    // In our place, so that ctrl-C and others' wishes reach it.
    Err(server.args(arguments).exec()).context("cannot start local-cassandra")
}

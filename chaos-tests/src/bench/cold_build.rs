//! A release build from nothing.

use std::{path::Path, process::Command, time::Instant};

use anyhow::ensure;

use super::{Figure, Goal};

/// One build into a fresh target folder.
pub(super) async fn measure() -> anyhow::Result<Vec<Figure>> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let target = tempfile::tempdir_in(".")?;
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let started = Instant::now();
    let status = tokio::task::spawn_blocking({
        let mut build = Command::new(cargo);
        build
            .args([
                "build",
                "--release",
                "--quiet",
                "--package",
                "ringtail-server",
            ])
            .current_dir(root)
            .env("CARGO_TARGET_DIR", target.path());
        move || build.status()
    })
    .await??;
    ensure!(status.success(), "the build ended with {status}");
    Ok(vec![
        Figure::new("cold_build", started.elapsed().as_secs_f64() / 60.0, "min")
            .goal(Goal::AtMost(10.0)),
    ])
}

//! The log alone beside the raw disk: the bench of `storage/log`.

use std::path::Path;

use anyhow::{Context, ensure};
use serde_json::Value;
use tokio::process::Command;

use super::{Figure, Goal};

/// One run of the crate's own bench.
pub(super) async fn measure() -> anyhow::Result<Vec<Figure>> {
    let document = cargo_bench("ringtail-log", "log_bandwidth").await?;
    let ratio = document
        .get("ratio")
        .and_then(Value::as_f64)
        .context("the bench has no ratio")?;
    Ok(vec![
        Figure::new("log", ratio, "times the raw disk's bandwidth")
            .goal(Goal::AtLeast(0.8))
            .detail("bench", document),
    ])
}

/// Runs a crate's bench and reads its last line, a JSON document.
pub(super) async fn cargo_bench(package: &str, bench: &str) -> anyhow::Result<Value> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let output = Command::new(cargo)
        .args(["bench", "--quiet", "--package", package, "--bench", bench])
        .current_dir(root)
        .stderr(std::process::Stdio::inherit())
        .output()
        .await?;
    ensure!(
        output.status.success(),
        "the bench of {package} ended with {}",
        output.status
    );
    let text = String::from_utf8_lossy(&output.stdout);
    let line = text
        .lines()
        .rev()
        .find(|line| line.starts_with('{'))
        .context("no JSON")?;
    Ok(serde_json::from_str(line)?)
}

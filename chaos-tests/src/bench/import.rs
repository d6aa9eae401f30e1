//! Import of an access log: the sample, again and again, each time some days later.

use std::{path::Path, time::Instant};

use anyhow::{Context, ensure};
use serde_json::Value;

use super::{Figure, Goal, probe, stand::Stand};
use crate::sample_log;

/// How often it is repeated.
const REPEATS: u64 = 40;
const DOMAIN: &str = "semicomplete.com";

/// One import of 400,000 lines.
pub(super) async fn measure() -> anyhow::Result<Vec<Figure>> {
    let stand = Stand::start().await?;
    stand.add_sites(&[DOMAIN.to_owned()]).await?;
    let log = stand.folder.path().join("access.log");
    let lines = sample_log::write_repeats(&log, REPEATS)?;
    let before = probe::processor_time(stand.pid()?)?;
    let started = Instant::now();
    let counted = import(&stand, DOMAIN, &log).await?;
    let took = started.elapsed().as_secs_f64();
    let processor = probe::processor_time(stand.pid()?)? - before;
    ensure!(
        counted.get("lines").and_then(Value::as_u64) == Some(lines),
        "{counted}"
    );
    stand.end().await?;
    Ok(vec![
        Figure::new(
            "import",
            processor.as_secs_f64() * 1e6 / lines as f64,
            "server CPU µs/line",
        )
        .goal(Goal::AtMost(9.0))
        .detail("lines", lines)
        .detail("lines_per_second", lines as f64 / took)
        .detail(
            "accepted",
            counted.get("accepted").cloned().unwrap_or_default(),
        ),
    ])
}

/// Imports a file through the command line.
pub(super) async fn import(stand: &Stand, domain: &str, log: &Path) -> anyhow::Result<Value> {
    let log = log.to_str().context("the path is UTF-8")?;
    stand
        .node
        .ask(&["import", "access-log", "--site", domain, log])
        .await
}

//! A node that has nothing to do.

use std::time::{Duration, Instant};

use tokio::time::sleep;

use super::{Figure, Goal, probe, stand::Stand};

/// The time over which nothing happens.
const LASTING: Duration = Duration::from_secs(10);
/// The first moments still belong to the start.
const SETTLING: Duration = Duration::from_secs(2);

/// One run: the first start, then an idle while.
pub(super) async fn measure() -> anyhow::Result<Vec<Figure>> {
    let stand = Stand::start().await?;
    let first_start = stand.node.ready_after.as_secs_f64();
    let stand = stand.restart().await?;
    sleep(SETTLING).await;
    let (before, started) = (probe::processor_time(stand.pid()?)?, Instant::now());
    sleep(LASTING).await;
    let processor = probe::processor_time(stand.pid()?)? - before;
    let percent = 100.0 * processor.as_secs_f64() / started.elapsed().as_secs_f64();
    let figures = vec![
        Figure::new(
            "idle_memory",
            probe::resident_bytes(stand.pid()?)? as f64 / 1e6,
            "MB",
        )
        .goal(Goal::AtMost(100.0)),
        Figure::new("idle_cpu", percent, "% of a core").goal(Goal::AtMost(2.0)),
        Figure::new(
            "start",
            stand.node.ready_after.as_secs_f64(),
            "s from start to ready",
        )
        .goal(Goal::AtMost(1.0))
        .detail("first_start_s", first_start),
    ];
    stand.end().await?;
    Ok(figures)
}

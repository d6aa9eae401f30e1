//! A ring that has nothing to do, beside a node alone that has nothing to do.

use std::time::{Duration, Instant};

use tokio::time::sleep;

use super::stand::RingStand;
use crate::bench::{Figure, Goal, probe};

const PARTITIONS: u64 = 16;
/// The time over which nothing happens.
const LASTING: Duration = Duration::from_secs(10);
/// The first moments still belong to the start.
const SETTLING: Duration = Duration::from_secs(3);

/// One run.
pub(in crate::bench) async fn measure() -> anyhow::Result<Vec<Figure>> {
    let (alone, _) = idle(1).await?;
    let (each, bytes) = idle(3).await?;
    let busiest = each.iter().copied().fold(0.0, f64::max);
    Ok(vec![
        Figure::new(
            "ring_idle_cpu",
            busiest,
            "% of a core, busiest of three nodes",
        )
        .goal(Goal::AtMost(2.0))
        .detail("each", each)
        .detail("ring_of_one", alone)
        .detail("memory_mb", bytes),
    ])
}

/// Percent of a core and megabytes of each node.
async fn idle(nodes: usize) -> anyhow::Result<(Vec<f64>, Vec<f64>)> {
    let ring = RingStand::start(nodes, PARTITIONS).await?;
    sleep(SETTLING).await;
    let (before, started) = (ring.processor_times()?, Instant::now());
    sleep(LASTING).await;
    let took = started.elapsed().as_secs_f64();
    let after = ring.processor_times()?;
    let used = after.iter().zip(&before);
    let percent = used.map(|(after, before)| 100.0 * (*after - *before).as_secs_f64() / took);
    let percent = percent.collect();
    let mut bytes = Vec::new();
    for seat in ring.up() {
        bytes.push(probe::resident_bytes(ring.node(seat)?.pid()?)? as f64 / 1e6);
    }
    ring.end().await?;
    Ok((percent, bytes))
}

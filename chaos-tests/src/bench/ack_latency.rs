//! How long an acknowledgement takes at a fifth of the full load, beside the disk's own sync.

use std::time::Duration;

use super::{
    Figure, Goal,
    load::{Batches, Zipf, send_open},
    probe,
    stand::Stand,
};

const SITES: usize = 1_000;
const BATCH: usize = 100;
/// A fifth of 250,000 events a second in batches of 100.
const PAUSE: Duration = Duration::from_millis(2);
const BATCHES: usize = 5_000;
const PROBES: u32 = 1_000;

/// One run.
pub(super) async fn measure() -> anyhow::Result<Vec<Figure>> {
    let stand = Stand::start().await?;
    let domains: Vec<String> = (0..SITES)
        .map(|site| format!("site-{site}.example"))
        .collect();
    stand.add_sites(&domains).await?;
    let (mut zipf, mut batches) = (Zipf::new(SITES, 1), Batches::new(1));
    let prepared = (0..BATCHES)
        .filter_map(|_| {
            domains
                .get(zipf.next())
                .map(|domain| batches.next(domain, BATCH))
        })
        .collect();
    let raw = probe::sync_latency(stand.folder.path(), PROBES)?;
    let sent = send_open(&stand.node.grpc, &stand.token, prepared, PAUSE).await?;
    stand.end().await?;
    let goal = 2.0 * probe::milliseconds(&raw, 0.5) + 1.0;
    Ok(vec![
        Figure::new(
            "ack_latency",
            probe::milliseconds(&sent.latency, 0.5),
            "ms, p50",
        )
        .goal(Goal::AtMost(goal))
        .detail("p99_ms", probe::milliseconds(&sent.latency, 0.99))
        .detail("raw_sync_p50_ms", probe::milliseconds(&raw, 0.5))
        .detail("raw_sync_p99_ms", probe::milliseconds(&raw, 0.99))
        .detail(
            "events_per_second",
            (BATCHES * BATCH) as f64 / sent.took.as_secs_f64(),
        ),
    ])
}

//! A report over an hour that is still in memory, with 100,000 visitors in it.

use std::time::Instant;

use serde_json::json;

use super::{
    Figure, Goal,
    load::{Batches, send_closed},
    probe,
    stand::Stand,
};

const VISITORS: u32 = 100_000;
const BATCH: u32 = 500;
const ROUNDS: u32 = 50;
const DOMAIN: &str = "crowd.example";

/// One run.
pub(super) async fn measure() -> anyhow::Result<Vec<Figure>> {
    let stand = Stand::start().await?;
    stand.add_sites(&[DOMAIN.to_owned()]).await?;
    let mut batches = Batches::new(1);
    let prepared = (0..VISITORS / BATCH)
        .map(|number| batches.next_visitors(DOMAIN, number * BATCH..(number + 1) * BATCH))
        .collect();
    send_closed(&stand.node.grpc, &stand.token, prepared).await?;
    stand.wait_for_events(DOMAIN, u64::from(VISITORS)).await?;
    let mut figures = Vec::new();
    for (name, dimensions) in [
        ("hot_hour", json!([])),
        ("hot_hour_pages", json!(["event:page"])),
    ] {
        let query = json!({
            "site_id": DOMAIN,
            "date_range": "day",
            "metrics": ["visitors", "visits", "pageviews", "bounce_rate"],
            "dimensions": dimensions,
        });
        let mut latency = probe::microseconds();
        for _ in 0..ROUNDS {
            let started = Instant::now();
            stand
                .client
                .query(&stand.node.http, &stand.token, &query)
                .await?;
            probe::record(&mut latency, started.elapsed());
        }
        figures.push(
            Figure::new(name, probe::milliseconds(&latency, 0.5), "ms, p50")
                .goal(Goal::AtMost(20.0))
                .detail("p99_ms", probe::milliseconds(&latency, 0.99))
                .detail("resident_bytes", probe::resident_bytes(stand.pid()?)?),
        );
    }
    stand.end().await?;
    Ok(figures)
}

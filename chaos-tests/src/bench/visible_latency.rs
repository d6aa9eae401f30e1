//! From an acknowledgement to the first query that shows the event.

use std::time::{Duration, Instant};

use super::{
    Figure, Goal,
    load::{Batches, Zipf, send_closed, send_open},
    probe,
    stand::Stand,
};

const SITES: usize = 1_000;
const BATCH: usize = 100;
const PAUSE: Duration = Duration::from_millis(2);
/// The load lasts longer than the samples take.
const BATCHES: usize = 6_000;
const SAMPLES: u64 = 300;
const DOMAIN: &str = "visible.example";

/// One run, under the load of a fifth of the goal.
pub(super) async fn measure() -> anyhow::Result<Vec<Figure>> {
    let stand = Stand::start().await?;
    let domains: Vec<String> = (0..SITES)
        .map(|site| format!("site-{site}.example"))
        .collect();
    stand.add_sites(&domains).await?;
    stand.add_sites(&[DOMAIN.to_owned()]).await?;
    let (mut zipf, mut batches) = (Zipf::new(SITES, 1), Batches::new(1));
    let prepared = (0..BATCHES)
        .filter_map(|_| {
            domains
                .get(zipf.next())
                .map(|domain| batches.next(domain, BATCH))
        })
        .collect();
    let (grpc, token) = (stand.node.grpc.clone(), stand.token.clone());
    let load = tokio::spawn(async move { send_open(&grpc, &token, prepared, PAUSE).await });
    let mut latency = probe::microseconds();
    let mut one = Batches::new(2);
    let mut samples = 0;
    // Only what is measured under load counts.
    while samples < SAMPLES && !load.is_finished() {
        samples += 1;
        // The stream acknowledges what is durable, before it is applied.
        send_closed(&stand.node.grpc, &stand.token, vec![one.next(DOMAIN, 1)]).await?;
        let acknowledged = Instant::now();
        stand.wait_for_events(DOMAIN, samples).await?;
        probe::record(&mut latency, acknowledged.elapsed());
    }
    load.await??;
    stand.end().await?;
    Ok(vec![
        Figure::new(
            "visible_latency",
            probe::milliseconds(&latency, 0.99) / 1000.0,
            "s, p99",
        )
        .goal(Goal::AtMost(1.0))
        .detail("p50_ms", probe::milliseconds(&latency, 0.5))
        .detail("samples", samples),
    ])
}

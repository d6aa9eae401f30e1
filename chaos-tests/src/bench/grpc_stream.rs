//! The gRPC stream at full speed: events that are durable and wholly aggregated each second, and what one costs.

use std::{collections::HashMap, time::Instant};

use futures::future::try_join_all;

use super::{
    Figure, Goal,
    load::{Batches, Zipf, send_closed},
    probe,
    stand::Stand,
};

const SITES: usize = 1_000;
const BATCH: usize = 100;
const STREAMS: u64 = 4;
/// Batches of each stream; prepared before the clock starts, so that the generator costs little.
const BATCHES: usize = 4_000;

/// One run.
pub(super) async fn measure() -> anyhow::Result<Vec<Figure>> {
    let stand = Stand::start().await?;
    let domains: Vec<String> = (0..SITES)
        .map(|site| format!("site-{site}.example"))
        .collect();
    stand.add_sites(&domains).await?;
    let mut expected: HashMap<String, u64> = HashMap::new();
    let mut streams = Vec::new();
    for stream in 0..STREAMS {
        let mut zipf = Zipf::new(SITES, stream);
        let mut batches = Batches::new(stream);
        let mut prepared = Vec::with_capacity(BATCHES);
        for _ in 0..BATCHES {
            if let Some(domain) = domains.get(zipf.next()) {
                prepared.push(batches.next(domain, BATCH));
                *expected.entry(domain.clone()).or_default() += BATCH as u64;
            }
        }
        streams.push(prepared);
    }
    let events: u64 = expected.values().sum();
    let processor_before = probe::processor_time(stand.pid()?)?;
    let started = Instant::now();
    let sending = streams.into_iter().map(|batches| {
        let (grpc, token) = (stand.node.grpc.clone(), stand.token.clone());
        tokio::spawn(async move { send_closed(&grpc, &token, batches).await })
    });
    let mut acknowledged = 0.0;
    for sent in try_join_all(sending).await? {
        acknowledged = f64::max(acknowledged, sent?.took.as_secs_f64());
    }
    // Aggregated when every site counts every event: the largest is waited for, the rest is checked.
    let largest = expected.iter().max_by_key(|(_, events)| **events);
    if let Some((domain, events)) = largest {
        stand.wait_for_events(domain, *events).await?;
    }
    let took = started.elapsed().as_secs_f64();
    let processor = probe::processor_time(stand.pid()?)? - processor_before;
    for (domain, events) in &expected {
        stand.wait_for_events(domain, *events).await?;
    }
    stand.end().await?;
    let micros = processor.as_secs_f64() * 1e6 / events as f64;
    Ok(vec![
        Figure::new(
            "grpc_stream",
            events as f64 / took,
            "events/s durable and aggregated",
        )
        .goal(Goal::AtLeast(250_000.0))
        .detail("events", events)
        .detail("durable_events_per_second", events as f64 / acknowledged)
        .detail("server_cores_used", processor.as_secs_f64() / took),
        Figure::new("grpc_stream_cpu", micros, "server CPU µs/event").goal(Goal::AtMost(4.0)),
    ])
}

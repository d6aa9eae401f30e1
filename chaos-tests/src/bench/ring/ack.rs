//! How long a majority takes to acknowledge at a fifth of the full load, beside the disk's own sync.

use std::{collections::BTreeMap, time::Duration};

use futures::future::try_join_all;

use super::{
    stand::RingStand,
    stream::{domains, load},
};
use crate::bench::{
    Figure,
    load::{Batches, Zipf, send_open},
    probe,
};

const SITES: usize = 1_000;
const PARTITIONS: u64 = 16;
const BATCH: usize = 100;
/// Events by which the full load is found out.
const FULL_EVENTS: usize = 300_000;
/// How long the fifth lasts.
const LASTING: Duration = Duration::from_secs(10);
const PROBES: u32 = 1_000;

/// One run.
pub(in crate::bench) async fn measure() -> anyhow::Result<Vec<Figure>> {
    let ring = RingStand::start(3, PARTITIONS).await?;
    let domains = domains(SITES);
    ring.add_sites(&domains).await?;
    let raw = probe::sync_latency(ring.folder.path(), PROBES)?;
    let full = load(&ring, &domains, BATCH, FULL_EVENTS, 1, &mut BTreeMap::new()).await?;
    let nodes = ring.grpc_addresses();
    let each_per_second = full.events_per_second / 5.0 / nodes.len() as f64;
    let pause = Duration::from_secs_f64(BATCH as f64 / each_per_second);
    let batches = (LASTING.as_secs_f64() / pause.as_secs_f64()) as usize;
    let sending = nodes.into_iter().enumerate().map(|(node, grpc)| {
        let seed = 100 + node as u64;
        let (mut zipf, mut made) = (Zipf::new(SITES, seed), Batches::new(seed));
        let chosen = (0..batches).filter_map(|_| domains.get(zipf.next()));
        let prepared = chosen.map(|domain| made.next(domain, BATCH)).collect();
        let token = ring.token().to_owned();
        tokio::spawn(async move { send_open(&grpc, &token, prepared, pause).await })
    });
    let mut latency = probe::microseconds();
    let mut spooled = 0;
    for sent in try_join_all(sending).await? {
        let sent = sent?;
        spooled += sent.pending;
        latency.add(&sent.latency)?;
    }
    ring.end().await?;
    let raw_p50 = probe::milliseconds(&raw, 0.5);
    let p50 = probe::milliseconds(&latency, 0.5);
    Ok(vec![
        Figure::new("ring_ack", p50, "ms, p50")
            .detail("p99_ms", probe::milliseconds(&latency, 0.99))
            .detail("max_ms", latency.max() as f64 / 1000.0)
            .detail("batches", latency.len())
            .detail("batches_spooled", spooled)
            .detail("raw_sync_p50_ms", raw_p50)
            .detail("raw_sync_p99_ms", probe::milliseconds(&raw, 0.99))
            .detail("times_raw_sync", p50 / raw_p50)
            .detail("events_per_second", full.events_per_second / 5.0)
            .detail("full_events_per_second", full.events_per_second),
    ])
}

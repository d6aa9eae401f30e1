//! The gRPC stream at full speed into three nodes: events that a majority has on disk, and what one costs over all nodes,
//! beside the same load into a ring of one.

use std::{collections::BTreeMap, time::Instant};

use futures::future::try_join_all;
use ringtail_proto::wire::v1::CollectRequest;

use super::stand::RingStand;
use crate::bench::{
    Figure,
    load::{Batches, Zipf, send_closed},
    probe,
};

const SITES: usize = 1_000;
const PARTITIONS: u64 = 16;
/// Streams into the ring, in turn to its nodes.
const STREAMS: u64 = 6;
/// Events of one load, about; prepared before the clock starts.
const EVENTS: usize = 400_000;

/// What a load came to.
pub(super) struct Load {
    pub(super) events_per_second: f64,
    /// Server CPU of an event in microseconds, by seat.
    micros: Vec<f64>,
    latency_p99_ms: f64,
    events: u64,
    /// Batches that were acknowledged by a spool, because their partition had no leader just then.
    spooled: u64,
}

impl Load {
    fn micros(&self) -> f64 {
        self.micros.iter().sum()
    }
}

/// One run.
pub(in crate::bench) async fn measure() -> anyhow::Result<Vec<Figure>> {
    let alone = loads(1).await?;
    let ring = loads(3).await?;
    let mut figures = Vec::new();
    let names = [
        ("ring_stream_100", "ring_stream_100_cpu"),
        ("ring_stream_1000", "ring_stream_1000_cpu"),
    ];
    for ((name, cpu_name), (alone, ring)) in names.into_iter().zip(alone.iter().zip(&ring)) {
        figures.push(
            Figure::new(
                name,
                ring.events_per_second,
                "events/s durable on a majority",
            )
            .detail("events", ring.events)
            .detail("ring_of_one_events_per_second", alone.events_per_second)
            .detail(
                "part_of_ring_of_one",
                ring.events_per_second / alone.events_per_second,
            )
            .detail("ack_p99_ms", ring.latency_p99_ms)
            .detail("batches_spooled", ring.spooled),
        );
        figures.push(
            Figure::new(cpu_name, ring.micros(), "server CPU µs/event, three nodes")
                .detail("by_node", ring.micros.clone())
                .detail("events_per_cpu_second", 1e6 / ring.micros())
                .detail("ring_of_one", alone.micros())
                .detail("times_ring_of_one", ring.micros() / alone.micros()),
        );
    }
    Ok(figures)
}

/// Batches of 100, then batches of 1,000, into a fresh ring.
async fn loads(nodes: usize) -> anyhow::Result<Vec<Load>> {
    let ring = RingStand::start(nodes, PARTITIONS).await?;
    let domains = domains(SITES);
    ring.add_sites(&domains).await?;
    let mut expected = BTreeMap::new();
    let mut loads = Vec::new();
    for (seed, batch) in [(1, 100), (2, 1_000)] {
        loads.push(load(&ring, &domains, batch, EVENTS, seed, &mut expected).await?);
    }
    // Each node counts each event once, also those that came through another.
    for seat in ring.up() {
        for (domain, events) in &expected {
            ring.until_counted(seat, domain, *events).await?;
        }
    }
    ring.end().await?;
    Ok(loads)
}

/// Names of sites.
pub(super) fn domains(sites: usize) -> Vec<String> {
    (0..sites)
        .map(|site| format!("site-{site}.example"))
        .collect()
}

/// Sends about so many events as fast as they are acknowledged, and waits until they are applied everywhere.
pub(super) async fn load(
    ring: &RingStand,
    domains: &[String],
    batch: usize,
    events: usize,
    seed: u64,
    expected: &mut BTreeMap<String, u64>,
) -> anyhow::Result<Load> {
    let batches = events / batch / STREAMS as usize;
    let mut streams: Vec<Vec<CollectRequest>> = Vec::new();
    for stream in 0..STREAMS {
        let seed = seed * STREAMS + stream;
        let mut zipf = Zipf::new(domains.len(), seed);
        let mut made = Batches::new(seed);
        let mut prepared = Vec::with_capacity(batches);
        for _ in 0..batches {
            if let Some(domain) = domains.get(zipf.next()) {
                prepared.push(made.next(domain, batch));
                *expected.entry(domain.clone()).or_default() += batch as u64;
            }
        }
        streams.push(prepared);
    }
    ring.until_at_rest().await?;
    let sent: u64 = STREAMS * (batches * batch) as u64;
    let grpc = ring.grpc_addresses();
    let (before, started) = (ring.processor_times()?, Instant::now());
    let sending = streams
        .into_iter()
        .zip(grpc.iter().cycle())
        .map(|(batches, grpc)| {
            let (grpc, token) = (grpc.clone(), ring.token().to_owned());
            tokio::spawn(async move { send_closed(&grpc, &token, batches).await })
        });
    let mut latency = probe::microseconds();
    let mut spooled = 0;
    for stream in try_join_all(sending).await? {
        let stream = stream?;
        spooled += stream.pending;
        latency.add(&stream.latency)?;
    }
    let took = started.elapsed().as_secs_f64();
    ring.until_at_rest().await?;
    let after = ring.processor_times()?;
    let micros = after.iter().zip(&before);
    let micros = micros.map(|(after, before)| (*after - *before).as_secs_f64() * 1e6 / sent as f64);
    Ok(Load {
        events_per_second: sent as f64 / took,
        micros: micros.collect(),
        latency_p99_ms: probe::milliseconds(&latency, 0.99),
        events: sent,
        spooled,
    })
}

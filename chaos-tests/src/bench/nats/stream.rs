//! Messages into a stream with three replicas: events a second, what one costs, and how long an acknowledgement takes.

use std::{sync::Arc, time::Duration};

use futures::future::try_join_all;
use hdrhistogram::Histogram;

use super::{
    load::send,
    servers::{Servers, Sync, can_always_sync, program},
};
use crate::bench::{Figure, probe};

/// Bytes of an event.
const EVENT_BYTES: usize = 300;
/// How long a load lasts.
const LASTING: Duration = Duration::from_secs(5);

/// What a load came to.
struct Load {
    events_per_second: f64,
    micros: f64,
    latency: Histogram<u64>,
}

/// One run: an event in each message, then a hundred.
pub(in crate::bench) async fn measure() -> anyhow::Result<Vec<Figure>> {
    let (_, version) = program().await?;
    let mut figures = Vec::new();
    if can_always_sync().await? {
        let names = [
            ["nats_always", "nats_always_cpu", "nats_always_ack"],
            [
                "nats_always_100",
                "nats_always_100_cpu",
                "nats_always_100_ack",
            ],
        ];
        figures.extend(run(Sync::Always, names, &version).await?);
    }
    let names = [
        ["nats_default", "nats_default_cpu", "nats_default_ack"],
        [
            "nats_default_100",
            "nats_default_100_cpu",
            "nats_default_100_ack",
        ],
    ];
    figures.extend(run(Sync::Default, names, &version).await?);
    Ok(figures)
}

async fn run(
    sync: Sync,
    names: [[&'static str; 3]; 2],
    version: &str,
) -> anyhow::Result<Vec<Figure>> {
    let servers = Servers::start(sync).await?;
    let raw = probe::sync_latency(servers.folder.path(), 500)?;
    let mut figures = Vec::new();
    for ([rate, cpu, ack], batch) in names.into_iter().zip([1, 100]) {
        let full = load(&servers, batch, None).await?;
        let fifth = load(&servers, batch, Some(full.events_per_second / 5.0)).await?;
        figures.extend([
            Figure::new(rate, full.events_per_second, "events/s on a majority")
                .detail("events_in_a_message", batch)
                .detail("sync", format!("{sync:?}"))
                .detail("server", version),
            Figure::new(cpu, full.micros, "server CPU µs/event, three servers")
                .detail("events_per_cpu_second", 1e6 / full.micros),
            Figure::new(ack, probe::milliseconds(&fifth.latency, 0.5), "ms, p50")
                .detail("p99_ms", probe::milliseconds(&fifth.latency, 0.99))
                .detail("full_load_p99_ms", probe::milliseconds(&full.latency, 0.99))
                .detail("raw_sync_p50_ms", probe::milliseconds(&raw, 0.5))
                .detail("messages", fifth.latency.len()),
        ]);
    }
    servers.end().await?;
    Ok(figures)
}

/// A connection to each server; at full speed, or so many events a second.
async fn load(servers: &Servers, batch: usize, pace: Option<f64>) -> anyhow::Result<Load> {
    servers.until_at_rest().await?;
    let payload = Arc::new(vec![b'e'; EVENT_BYTES * batch]);
    let before = servers.processor_time()?;
    let up = servers.up();
    let pause = pace.map(|pace| Duration::from_secs_f64((batch * up.len()) as f64 / pace));
    let sending = up
        .into_iter()
        .map(|address| tokio::spawn(send(address, payload.clone(), LASTING, pause)));
    let mut latency = probe::microseconds();
    let (mut messages, mut took) = (0, 0.0);
    for sent in try_join_all(sending).await? {
        let sent = sent?;
        latency.add(&sent.latency)?;
        messages += sent.messages;
        took = f64::max(took, sent.took.as_secs_f64());
    }
    servers.until_at_rest().await?;
    let used = servers.processor_time()? - before;
    let events = messages as f64 * batch as f64;
    Ok(Load {
        events_per_second: events / took,
        micros: used.as_secs_f64() * 1e6 / events,
        latency,
    })
}

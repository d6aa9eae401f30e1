//! What the past costs: bytes and processor time of the archive, and of deriving history anew while a site is served.

use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use futures::future::try_join_all;
use hdrhistogram::Histogram;
use reqwest::Method;
use serde_json::{Value, json};
use tokio::time::sleep;

use super::{
    Figure, Goal,
    load::{Batches, send_closed, send_open},
    probe,
    stand::Stand,
};

const SITES: usize = 20;
const BATCH: usize = 100;
/// Batches of each site.
const BATCHES: usize = 500;
/// A batch for each of these while the node is measured under load: 5,000 events/s.
const PAUSE: Duration = Duration::from_millis(20);
/// Batches of one round of that load.
const ROUND: usize = 100;
/// Rounds before anything is reprocessed.
const ROUNDS_BEFORE: usize = 6;
const LOOK: Duration = Duration::from_millis(50);
const WAITING_MAX: Duration = Duration::from_secs(600);

/// One run: a million events are sealed, then all of them are derived again.
pub(super) async fn measure() -> anyhow::Result<Vec<Figure>> {
    let archived = [
        ("RINGTAIL_ARCHIVE", "own"),
        ("RINGTAIL_CHECKPOINT_DIRTY_SECONDS_MAX", "1"),
    ];
    let stand = Stand::start_with(&archived).await?;
    let domains: Vec<String> = (0..SITES)
        .map(|site| format!("site-{site}.example"))
        .collect();
    stand.add_sites(&domains).await?;
    fill(&stand, &domains).await?;
    let mut figures = seal(&stand).await?;
    figures.extend(reprocess(&stand, &domains).await?);
    stand.end().await?;
    Ok(figures)
}

async fn fill(stand: &Stand, domains: &[String]) -> anyhow::Result<()> {
    let sending = domains.iter().enumerate().map(|(site, domain)| async move {
        let mut batches = Batches::new(site as u64);
        let batches = (0..BATCHES).map(|_| batches.next(domain, BATCH)).collect();
        send_closed(&stand.node.grpc, &stand.token, batches).await
    });
    try_join_all(sending).await?;
    for domain in domains {
        let events = (BATCHES * BATCH) as u64;
        stand.wait_for_events(domain, events).await?;
    }
    Ok(())
}

/// Seals everything, and weighs it.
async fn seal(stand: &Stand) -> anyhow::Result<Vec<Figure>> {
    let events = (SITES * BATCHES * BATCH) as u64;
    let (started, mut sealing) = (Instant::now(), Duration::ZERO);
    let before = probe::processor_time(stand.pid()?)?;
    loop {
        let turn = Instant::now();
        stand
            .ask(Method::POST, "/api/v1/archive/seal", json!({}))
            .await?;
        sealing += turn.elapsed();
        let archive = stand
            .ask(Method::GET, "/api/v1/archive", Value::Null)
            .await?;
        let (rows, bytes) = weigh(&archive);
        if rows < events {
            ensure!(
                started.elapsed() < WAITING_MAX,
                "{rows} of {events} events are sealed"
            );
            sleep(LOOK).await;
            continue;
        }
        let processor = probe::processor_time(stand.pid()?)? - before;
        return Ok(vec![
            Figure::new(
                "archive_bytes",
                bytes as f64 / events as f64,
                "bytes an event in the archive",
            )
            .detail("events", events),
            Figure::new(
                "archive_cpu",
                processor.as_secs_f64() * 1e6 / events as f64,
                "server CPU µs/event to checkpoint and seal",
            )
            .detail("sealing_s", sealing.as_secs_f64())
            .detail("waiting_s", started.elapsed().as_secs_f64()),
        ]);
    }
}

/// Rows and bytes of the events in the archive.
fn weigh(archive: &Value) -> (u64, u64) {
    let groups = archive.get("groups").and_then(Value::as_array);
    let objects = groups.into_iter().flatten().flat_map(|group| {
        let objects = group.get("objects").and_then(Value::as_array);
        objects.into_iter().flatten()
    });
    let of_events = objects.filter(|object| object.get("table") == Some(&json!("events")));
    let number = |object: &Value, name: &str| object.get(name).and_then(Value::as_u64).unwrap_or(0);
    of_events.fold((0, 0), |(rows, bytes), object| {
        (
            rows + number(object, "rows"),
            bytes + number(object, "bytes"),
        )
    })
}

/// Derives all sites again while one of them goes on.
async fn reprocess(stand: &Stand, domains: &[String]) -> anyhow::Result<Vec<Figure>> {
    let live = domains.first().context("there are sites")?;
    let mut load = Batches::new(SITES as u64);
    let (mut before, mut meanwhile) = (probe::microseconds(), probe::microseconds());
    let pid = stand.pid()?;
    let idle = probe::processor_time(pid)?;
    for _ in 0..ROUNDS_BEFORE {
        round(stand, live, &mut load, &mut before).await?;
    }
    let started = probe::processor_time(pid)?;
    let of_a_round = (started - idle) / ROUNDS_BEFORE as u32;
    let begun = Instant::now();
    for domain in domains {
        let path = format!("/api/v1/sites/{domain}/reprocess");
        stand.ask(Method::POST, &path, json!({})).await?;
    }
    let mut rounds = 0;
    while !is_built(stand, domains).await? {
        ensure!(begun.elapsed() < WAITING_MAX, "reprocessing takes too long");
        round(stand, live, &mut load, &mut meanwhile).await?;
        rounds += 1;
    }
    let took = begun.elapsed();
    let processor = probe::processor_time(pid)? - started;
    let processor = processor.saturating_sub(of_a_round * rounds);
    let events = (SITES * BATCHES * BATCH) as f64;
    let p99 = |latency: &Histogram<u64>| probe::milliseconds(latency, 0.99);
    Ok(vec![
        Figure::new(
            "reprocess",
            events / processor.as_secs_f64(),
            "events/s a core, derived again",
        )
        .goal(Goal::AtLeast(1_000_000.0))
        .detail("events", events)
        .detail("events_per_second", events / took.as_secs_f64())
        .detail("took_s", took.as_secs_f64()),
        Figure::new(
            "reprocess_p99",
            p99(&meanwhile) / p99(&before),
            "times the p99 of acknowledgements before",
        )
        .goal(Goal::AtMost(1.1))
        .detail("before_p99_ms", p99(&before))
        .detail("meanwhile_p99_ms", p99(&meanwhile))
        .detail("before_p50_ms", probe::milliseconds(&before, 0.5))
        .detail("meanwhile_p50_ms", probe::milliseconds(&meanwhile, 0.5))
        .detail("batches_before", before.len())
        .detail("batches_meanwhile", meanwhile.len()),
    ])
}

async fn round(
    stand: &Stand,
    domain: &str,
    load: &mut Batches,
    latency: &mut Histogram<u64>,
) -> anyhow::Result<()> {
    let batches = (0..ROUND).map(|_| load.next(domain, BATCH)).collect();
    let sent = send_open(&stand.node.grpc, &stand.token, batches, PAUSE).await?;
    latency.add(&sent.latency)?;
    Ok(())
}

async fn is_built(stand: &Stand, domains: &[String]) -> anyhow::Result<bool> {
    for domain in domains {
        let path = format!("/api/v1/sites/{domain}/reprocess");
        let state = stand.ask(Method::GET, &path, Value::Null).await?;
        if state.pointer("/next/is_complete") != Some(&Value::Bool(true)) {
            return Ok(false);
        }
    }
    Ok(true)
}

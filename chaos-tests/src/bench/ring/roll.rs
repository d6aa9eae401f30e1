//! Each node is stopped in order and started again, at half the full load: requests that no node took.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use super::{
    beacons::BatchDoor,
    paced::Paced,
    stand::RingStand,
    stream::{domains, load},
};
use crate::bench::{Figure, Goal, probe};

const SITES: usize = 100;
const PARTITIONS: u64 = 16;
const BATCH: usize = 100;
/// Events by which the full load is found out.
const FULL_EVENTS: usize = 200_000;

/// One run.
pub(in crate::bench) async fn measure() -> anyhow::Result<Vec<Figure>> {
    let mut ring = RingStand::start(3, PARTITIONS).await?;
    let domains = domains(SITES);
    ring.add_sites(&domains).await?;
    let mut expected = BTreeMap::new();
    let full = load(&ring, &domains, BATCH, FULL_EVENTS, 1, &mut expected).await?;
    let half = full.events_per_second / 2.0;
    let grpc = ring.grpc_addresses();
    let door = || BatchDoor::new(&grpc, ring.token(), domains.clone(), BATCH);
    let counting = door()?;
    let paced = Paced::start(door()?, Duration::from_secs_f64(BATCH as f64 / half));
    let started = Instant::now();
    let mut stops = Vec::new();
    for seat in ring.up() {
        let stopping = Instant::now();
        ring.terminate(seat).await?;
        stops.push(stopping.elapsed().as_secs_f64());
        ring.start_again(seat).await?;
        ring.until_settled().await?;
    }
    let took = started.elapsed().as_secs_f64();
    let outcome = paced.finish().await?;
    if outcome.failed.is_empty() {
        for (domain, events) in counting.expected(outcome.taken) {
            *expected.entry(domain).or_default() += events;
        }
        for seat in ring.up() {
            for (domain, events) in &expected {
                ring.until_counted(seat, domain, *events).await?;
            }
        }
    }
    ring.end().await?;
    Ok(vec![
        Figure::new("ring_roll", outcome.failed.len() as f64, "failed requests")
            .goal(Goal::AtMost(0.0))
            .detail("taken", outcome.taken)
            .detail("taken_by_a_second_node", outcome.by_another)
            .detail("events_per_second", half)
            .detail("p50_ms", probe::milliseconds(&outcome.latency, 0.5))
            .detail("p99_ms", probe::milliseconds(&outcome.latency, 0.99))
            .detail("slowest_ms", outcome.latency.max() as f64 / 1000.0)
            .detail("stops_s", stops)
            .detail("whole_s", took)
            .detail(
                "reasons",
                outcome.failed.into_iter().take(3).collect::<Vec<_>>(),
            ),
    ])
}

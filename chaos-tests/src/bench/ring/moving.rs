//! A partition with a million events moves from one node to another under load: how long it takes, and what it does to
//! acknowledgements meanwhile.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};
use reqwest::Method;
use serde_json::{Value, json};
use tokio::time::sleep;

use super::{
    beacons::BatchDoor,
    paced::{Outcome, Paced},
    stand::RingStand,
    stream::{domains, load},
};
use crate::bench::{Figure, Goal, probe};

const SITES: usize = 50;
const EVENTS: usize = 1_000_000;
const BATCH: usize = 100;
/// Batches a second while the partition stays and while it moves: 5,000 events.
const PAUSE: Duration = Duration::from_millis(20);
/// How long the load lasts before.
const BEFORE: Duration = Duration::from_secs(10);
const LOOK: Duration = Duration::from_millis(10);
const MOVED_AFTER_MAX: Duration = Duration::from_secs(120);

/// One run: one partition on three of four nodes; one that holds it and does not lead is drained.
pub(in crate::bench) async fn measure() -> anyhow::Result<Vec<Figure>> {
    let mut ring = RingStand::start(3, 1).await?;
    let domains = domains(SITES);
    ring.add_sites(&domains).await?;
    ring.join(None).await?;
    ring.until_settled().await?;
    let filling = Instant::now();
    load(&ring, &domains, 1_000, EVENTS, 1, &mut BTreeMap::new()).await?;
    let filled = filling.elapsed();
    let drained = chosen(&ring).await?;
    let door = BatchDoor::new(&ring.grpc_addresses(), ring.token(), domains, BATCH)?;
    let paced = Paced::start(door, PAUSE);
    sleep(BEFORE).await;
    let before = paced.so_far();
    let started = Instant::now();
    let path = format!("/api/v1/ring/nodes/{drained}/drain");
    ring.ask(0, Method::POST, &path, json!({})).await?;
    until_empty(&ring, drained).await?;
    let took = started.elapsed();
    let meanwhile = paced.so_far();
    let after = paced.finish().await?;
    ring.end().await?;
    let failed = [&before, &meanwhile, &after].map(|outcome| outcome.failed.len());
    ensure!(failed == [0; 3], "batches failed: {failed:?}");
    let p99 = |outcome: &Outcome| probe::milliseconds(&outcome.latency, 0.99);
    Ok(vec![
        Figure::new(
            "ring_move",
            took.as_secs_f64(),
            "s to move a partition of 1 M events",
        )
        .detail("events_per_second", EVENTS as f64 / took.as_secs_f64())
        .detail("filling_s", filled.as_secs_f64()),
        Figure::new(
            "ring_move_p99",
            p99(&meanwhile) / p99(&before),
            "times the p99 before",
        )
        .goal(Goal::AtMost(1.5))
        .detail("before_p99_ms", p99(&before))
        .detail("meanwhile_p99_ms", p99(&meanwhile))
        .detail("before_p50_ms", probe::milliseconds(&before.latency, 0.5))
        .detail(
            "meanwhile_p50_ms",
            probe::milliseconds(&meanwhile.latency, 0.5),
        )
        .detail("batches_before", before.taken)
        .detail("batches_meanwhile", meanwhile.taken),
    ])
}

/// The id of a node that holds the partition, does not lead it, and is not the first, which is asked.
async fn chosen(ring: &RingStand) -> anyhow::Result<u64> {
    let document = ring.document(0).await?;
    let groups = document.get("groups").and_then(Value::as_array);
    let mut groups = groups.into_iter().flatten();
    let group = groups.find(|group| group.get("group") == Some(&json!(1)));
    let group = group.context("there is one partition")?;
    let leader = group.get("leader").and_then(Value::as_u64);
    let first = document.pointer("/nodes/0/id").and_then(Value::as_u64);
    let voters = group.get("voters").and_then(Value::as_array);
    let voters = voters.into_iter().flatten().filter_map(Value::as_u64);
    let mut followers = voters.filter(|voter| ![leader, first].contains(&Some(*voter)));
    followers.next().context("the partition has followers")
}

async fn until_empty(ring: &RingStand, id: u64) -> anyhow::Result<()> {
    let started = Instant::now();
    loop {
        let document = ring.document(0).await?;
        let nodes = document.get("nodes").and_then(Value::as_array);
        let mut nodes = nodes.into_iter().flatten();
        let node = nodes.find(|node| node.get("id") == Some(&json!(id)));
        let replicas = node.and_then(|node| node.get("replicas")?.as_u64());
        if replicas == Some(0) {
            return Ok(());
        }
        ensure!(
            started.elapsed() < MOVED_AFTER_MAX,
            "node {id} is not drained: {document}"
        );
        sleep(LOOK).await;
    }
}

//! What a ring loses when a node loses its unsynced bytes: one node is down, the other two acknowledge, one of these two
//! loses its power and with it what it did not sync, the last one dies, and the first two have to know everything.

use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use serde_json::{Value, json};
use tokio::time::sleep;

use super::stand::RingStand;
use crate::bench::{
    Figure, Goal,
    load::{Batches, send_closed},
    volume::Volume,
};

const SITE: &str = "power.example";
const BATCH: usize = 10;
const BATCHES: usize = 200;
/// After this long what is missing is lost.
const FOUND_AFTER_MAX: Duration = Duration::from_secs(20);
const LOOK: Duration = Duration::from_millis(100);

/// One run.
pub(in crate::bench) async fn measure() -> anyhow::Result<Vec<Figure>> {
    let folder = tempfile::tempdir_in(".")?;
    let volumes = ["node1", "node2", "node3"].map(|name| Volume::make(folder.path(), name));
    let volumes: Vec<Volume> = volumes.into_iter().collect::<anyhow::Result<_>>()?;
    let data = volumes
        .iter()
        .map(|volume| Some(volume.path().join("data")));
    let mut ring = RingStand::start_in(data.collect(), 1).await?;
    ring.add_sites(&[SITE.to_owned()]).await?;
    let (last, _) = ring.leads_most().await?;
    let others: Vec<usize> = ring.up().into_iter().filter(|seat| *seat != last).collect();
    let [late, cut] = others.as_slice() else {
        anyhow::bail!("three nodes are expected");
    };
    ring.kill(*late).await?;
    let mut batches = Batches::new(1);
    let batches = (0..BATCHES).map(|_| batches.next(SITE, BATCH)).collect();
    let grpc = ring.node(last)?.grpc.clone();
    let sent = send_closed(&grpc, ring.token(), batches).await?;
    ensure!(sent.pending == 0, "{} batches wait", sent.pending);
    ring.kill(*cut).await?;
    let volume = volumes.get(*cut).context("each node has a volume")?;
    volume.drop_unsynced()?;
    ring.kill(last).await?;
    ring.start_all_again(&[*late, *cut]).await?;
    let acknowledged = (BATCHES * BATCH) as u64;
    let found = found(&ring, *cut, acknowledged).await?;
    ring.end().await?;
    Ok(vec![
        Figure::new(
            "ring_power",
            acknowledged as f64 - found as f64,
            "acknowledged events lost",
        )
        .goal(Goal::AtMost(0.0))
        .detail("acknowledged", acknowledged),
    ])
}

/// The most events that the node counts in the end.
async fn found(ring: &RingStand, seat: usize, acknowledged: u64) -> anyhow::Result<u64> {
    let query = json!({ "site_id": SITE, "date_range": "all", "metrics": ["events"] });
    let started = Instant::now();
    let mut counted = None;
    while counted < Some(acknowledged) && started.elapsed() < FOUND_AFTER_MAX {
        let answer = ring
            .ask(seat, reqwest::Method::POST, "/api/v2/query", query.clone())
            .await;
        let number = answer.as_ref().ok().map(|answer| {
            let number = answer.pointer("/results/0/metrics/0");
            number.and_then(Value::as_u64).unwrap_or_default()
        });
        counted = counted.max(number);
        sleep(LOOK).await;
    }
    counted.context("the node answers no query")
}

//! What a stream loses when a server loses its unsynced bytes: one server is down, the other two acknowledge, one of
//! these two loses its power and with it what it did not sync, the last one dies, and the first two have to know
//! everything.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::Context;
use tokio::time::sleep;

use super::{
    load::send,
    servers::{Servers, Sync, can_always_sync, program},
};
use crate::bench::{Figure, volume::Volume};

const EVENT_BYTES: usize = 300;
/// Messages are sent for so long, one each pause.
const LASTING: Duration = Duration::from_secs(2);
const PAUSE: Duration = Duration::from_millis(2);
/// After this long what is missing is lost.
const FOUND_AFTER_MAX: Duration = Duration::from_secs(30);
const LOOK: Duration = Duration::from_millis(100);

/// One run with each way to sync.
pub(in crate::bench) async fn measure() -> anyhow::Result<Vec<Figure>> {
    let mut figures = Vec::new();
    if can_always_sync().await? {
        figures.push(run(Sync::Always, "nats_always_power").await?);
    }
    figures.push(run(Sync::Default, "nats_default_power").await?);
    Ok(figures)
}

async fn run(sync: Sync, name: &'static str) -> anyhow::Result<Figure> {
    let folder = tempfile::tempdir_in(".")?;
    let volumes = ["n0", "n1", "n2"].map(|name| Volume::make(folder.path(), name));
    let volumes: Vec<Volume> = volumes.into_iter().collect::<anyhow::Result<_>>()?;
    let stores = volumes.iter().map(|volume| volume.path().to_owned());
    let mut servers = Servers::start_in(stores.collect(), sync).await?;
    let last = servers.leader().await?;
    let others: Vec<usize> = (0..volumes.len()).filter(|other| *other != last).collect();
    let [late, cut] = others.as_slice() else {
        anyhow::bail!("three servers are expected");
    };
    servers.kill(*late).await?;
    let address = servers.address(last)?;
    let payload = Arc::new(vec![b'e'; EVENT_BYTES]);
    let sent = send(address, payload, LASTING, Some(PAUSE)).await?;
    servers.kill(*cut).await?;
    let volume = volumes.get(*cut).context("each server has a volume")?;
    volume.drop_unsynced()?;
    servers.kill(last).await?;
    servers.start_again(*late).await?;
    servers.start_again(*cut).await?;
    let found = found(&servers, sent.messages).await?;
    servers.end().await?;
    let lost = sent.messages as f64 - found as f64;
    Ok(Figure::new(name, lost, "acknowledged events lost")
        .detail("acknowledged", sent.messages)
        .detail("server", program().await?.1))
}

/// The most messages that the stream holds in the end; none when it does not come back.
async fn found(servers: &Servers, acknowledged: u64) -> anyhow::Result<u64> {
    let started = Instant::now();
    let (mut counted, mut words) = (None, String::new());
    while counted < Some(acknowledged) && started.elapsed() < FOUND_AFTER_MAX {
        match servers.messages().await {
            Ok(messages) => counted = counted.max(Some(messages)),
            Err(error) => words = format!("{error:#}"),
        }
        sleep(LOOK).await;
    }
    counted.with_context(|| format!("the stream does not come back: {words}"))
}

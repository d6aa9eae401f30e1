//! The leader of the stream is killed again and again: the time until the stream acknowledges again.

use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use tokio::time::{sleep, timeout};

use super::{
    connection::connect,
    servers::{STREAM, Servers, Sync, can_always_sync},
};
use crate::bench::Figure;

const KILLS: usize = 5;
/// Between two messages: as exactly the gap can be told.
const PAUSE: Duration = Duration::from_millis(20);
/// A stream that is silent for longer is an error.
const SILENT_MAX: Duration = Duration::from_secs(60);

/// One run.
pub(in crate::bench) async fn measure() -> anyhow::Result<Vec<Figure>> {
    let sync = match can_always_sync().await? {
        true => Sync::Always,
        false => Sync::Default,
    };
    let mut servers = Servers::start(sync).await?;
    let mut gaps = Vec::new();
    for _ in 0..KILLS {
        let leader = servers.leader().await?;
        let killed = servers.kill(leader).await?;
        gaps.push(until_acknowledged(&servers, killed).await?.as_secs_f64());
        servers.start_again(leader).await?;
        servers.until_whole().await?;
    }
    servers.end().await?;
    gaps.sort_by(f64::total_cmp);
    let median = gaps.get(gaps.len() / 2).copied().unwrap_or_default();
    let longest = gaps.last().copied().unwrap_or_default();
    Ok(vec![
        Figure::new(
            "nats_kill_gap_p50",
            median,
            "s until the stream acknowledges",
        )
        .detail("sync", format!("{sync:?}"))
        .detail("all", gaps),
        Figure::new(
            "nats_kill_gap_max",
            longest,
            "s until the stream acknowledges",
        ),
    ])
}

/// From the kill to the first acknowledgement of a message that was sent after it.
async fn until_acknowledged(servers: &Servers, killed: Instant) -> anyhow::Result<Duration> {
    let up = servers.up();
    let (mut publisher, mut replies) = connect(up.first().context("a server is up")?).await?;
    let sender = tokio::spawn(async move {
        for number in 0.. {
            publisher.publish(STREAM, number, b"after the kill").await?;
            publisher.flush().await?;
            sleep(PAUSE).await;
        }
        anyhow::Ok(())
    });
    let acknowledged = timeout(SILENT_MAX, async {
        loop {
            let body = replies.next().await?.body.unwrap_or_default();
            if String::from_utf8_lossy(&body).contains("\"seq\"") {
                return anyhow::Ok(killed.elapsed());
            }
        }
    });
    let acknowledged = acknowledged.await;
    sender.abort();
    ensure!(acknowledged.is_ok(), "the stream acknowledges nothing");
    acknowledged?
}

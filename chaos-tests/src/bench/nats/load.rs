//! Publishes messages and notes when each is acknowledged by a majority.

use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};
use hdrhistogram::Histogram;
use parking_lot::Mutex;
use tokio::{
    sync::{Semaphore, oneshot},
    time::{MissedTickBehavior, interval},
};

use super::{
    connection::{Publisher, connect},
    servers::STREAM,
};
use crate::bench::probe::{microseconds, record};

/// Messages on their way on one connection.
const IN_FLIGHT_MAX: usize = 512;

/// What a load did.
pub(super) struct Sent {
    pub(super) messages: u64,
    pub(super) took: Duration,
    pub(super) latency: Histogram<u64>,
}

/// Sends for a while: as fast as acknowledgements come back, or one message each `pause`.
pub(super) async fn send(
    address: String,
    payload: Arc<Vec<u8>>,
    lasting: Duration,
    pause: Option<Duration>,
) -> anyhow::Result<Sent> {
    let (publisher, mut replies) = connect(&address).await?;
    let due: Arc<Mutex<HashMap<u64, Instant>>> = Arc::default();
    let slots = Arc::new(Semaphore::new(IN_FLIGHT_MAX));
    let (ended, mut total) = oneshot::channel();
    let feeding = Feed {
        publisher,
        payload,
        due: due.clone(),
        slots: slots.clone(),
        until: Instant::now() + lasting,
    };
    let started = Instant::now();
    let sender = tokio::spawn(async move {
        let (publisher, sent) = match pause {
            Some(pause) => feeding.steadily(pause).await?,
            None => feeding.at_full_speed().await?,
        };
        // Nobody waits for it any more when the other half has failed.
        let _ = ended.send(sent);
        anyhow::Ok(publisher)
    });
    let mut latency = microseconds();
    let mut expected = None;
    while expected != Some(latency.len()) {
        let reply = tokio::select! {
            sent = &mut total, if expected.is_none() => {
                expected = Some(sent.context("the sender failed")?);
                continue;
            }
            reply = replies.next() => reply?,
        };
        let body = reply.body.context("the stream has no leader")?;
        let text = String::from_utf8_lossy(&body);
        ensure!(!text.contains("\"error\""), "{text}");
        let since = due.lock().remove(&reply.number);
        record(&mut latency, since.context("an unknown number")?.elapsed());
        slots.add_permits(1);
    }
    let took = started.elapsed();
    drop(sender.await??);
    Ok(Sent {
        messages: latency.len(),
        took,
        latency,
    })
}

struct Feed {
    publisher: Publisher,
    payload: Arc<Vec<u8>>,
    due: Arc<Mutex<HashMap<u64, Instant>>>,
    slots: Arc<Semaphore>,
    until: Instant,
}

impl Feed {
    async fn at_full_speed(mut self) -> anyhow::Result<(Publisher, u64)> {
        let mut sent = 0;
        while Instant::now() < self.until {
            // What is buffered leaves before we wait.
            if self.slots.available_permits() == 0 {
                self.publisher.flush().await?;
            }
            self.slots.acquire().await?.forget();
            self.due.lock().insert(sent, Instant::now());
            self.publisher.publish(STREAM, sent, &self.payload).await?;
            sent += 1;
        }
        self.publisher.flush().await?;
        Ok((self.publisher, sent))
    }

    async fn steadily(mut self, pause: Duration) -> anyhow::Result<(Publisher, u64)> {
        let mut ticks = interval(pause);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
        let mut sent = 0;
        while Instant::now() < self.until {
            let at = ticks.tick().await.into_std();
            self.due.lock().insert(sent, at);
            self.publisher.publish(STREAM, sent, &self.payload).await?;
            self.publisher.flush().await?;
            sent += 1;
        }
        Ok((self.publisher, sent))
    }
}

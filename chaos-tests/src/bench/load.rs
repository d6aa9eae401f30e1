//! A gRPC client that sends prepared batches and notes when each is acknowledged.

use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context, bail};
use hdrhistogram::Histogram;
use parking_lot::Mutex;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use ringtail_proto::wire::v1::{CollectRequest, Event, collector_client::CollectorClient};
use tokio::{
    sync::{Semaphore, mpsc},
    time::{MissedTickBehavior, interval},
};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, transport::Channel};
use uuid::Uuid;

use super::probe::{microseconds, record};
use crate::client::USER_AGENT;

/// Batches on their way on one stream.
const IN_FLIGHT_MAX: usize = 64;
/// Pages of a site and visitors of a site in the load.
const PAGES: u32 = 200;
const VISITORS: u32 = 2_000;

/// Chooses sites as the world does: the n-th gets 1/n of what the first gets.
pub(super) struct Zipf {
    cumulated: Vec<f64>,
    random: ChaCha8Rng,
}

impl Zipf {
    pub(super) fn new(sites: usize, seed: u64) -> Self {
        let mut sum = 0.0;
        let weights = (1..=sites).map(|rank| {
            sum += 1.0 / rank as f64;
            sum
        });
        Self {
            cumulated: weights.collect(),
            random: ChaCha8Rng::seed_from_u64(seed),
        }
    }

    pub(super) fn next(&mut self) -> usize {
        let whole = self.cumulated.last().copied().unwrap_or_default();
        let point = self.random.random::<f64>() * whole;
        self.cumulated.partition_point(|sum| *sum < point)
    }
}

/// Makes batches of one site with fresh ids.
pub(super) struct Batches {
    random: ChaCha8Rng,
    sequence: u64,
}

impl Batches {
    pub(super) fn new(seed: u64) -> Self {
        Self {
            random: ChaCha8Rng::seed_from_u64(seed),
            sequence: 0,
        }
    }

    /// A batch of page views, now.
    pub(super) fn next(&mut self, domain: &str, size: usize) -> CollectRequest {
        self.sequence += 1;
        let events = (0..size).map(|_| {
            let page = self.random.random_range(0..PAGES);
            let visitor = self.random.random_range(0..VISITORS);
            event(&mut self.random, domain, page, format!("visitor-{visitor}"))
        });
        CollectRequest {
            site: domain.to_owned(),
            events: events.collect(),
            sequence: self.sequence,
        }
    }

    /// A batch in which each visitor is new.
    pub(super) fn next_visitors(
        &mut self,
        domain: &str,
        visitors: std::ops::Range<u32>,
    ) -> CollectRequest {
        self.sequence += 1;
        let events = visitors.map(|visitor| {
            event(
                &mut self.random,
                domain,
                visitor % PAGES,
                format!("v{visitor}"),
            )
        });
        CollectRequest {
            site: domain.to_owned(),
            events: events.collect(),
            sequence: self.sequence,
        }
    }
}

fn event(random: &mut ChaCha8Rng, domain: &str, page: u32, visitor: String) -> Event {
    Event {
        id: Uuid::from_u128(random.random()).as_bytes().to_vec(),
        name: "pageview".to_owned(),
        url: format!("https://{domain}/page/{page}"),
        visitor,
        user_agent: USER_AGENT.to_owned(),
        ..Event::default()
    }
}

/// What a load did.
pub(super) struct Sent {
    pub(super) took: Duration,
    pub(super) latency: Histogram<u64>,
    /// Batches that wait on disk for a quorum.
    pub(super) pending: u64,
}

/// Sends as fast as acknowledgements come back.
pub(super) async fn send_closed(
    grpc: &str,
    token: &str,
    batches: Vec<CollectRequest>,
) -> anyhow::Result<Sent> {
    send(grpc, token, batches, None).await
}

/// Sends one batch each `pause`, whatever comes back; a late answer is measured from when its batch was due.
pub(super) async fn send_open(
    grpc: &str,
    token: &str,
    batches: Vec<CollectRequest>,
    pause: Duration,
) -> anyhow::Result<Sent> {
    send(grpc, token, batches, Some(pause)).await
}

async fn send(
    grpc: &str,
    token: &str,
    batches: Vec<CollectRequest>,
    pause: Option<Duration>,
) -> anyhow::Result<Sent> {
    let channel = Channel::from_shared(format!("http://{grpc}"))?
        .connect()
        .await?;
    let (requests, outgoing) = mpsc::channel(IN_FLIGHT_MAX);
    let mut request = Request::new(ReceiverStream::new(outgoing));
    request
        .metadata_mut()
        .insert("authorization", format!("Bearer {token}").parse()?);
    let mut client = CollectorClient::new(channel);
    let due: Arc<Mutex<HashMap<u64, Instant>>> = Arc::default();
    let slots = Arc::new(Semaphore::new(if pause.is_some() {
        1 << 16
    } else {
        IN_FLIGHT_MAX
    }));
    let total = batches.len();
    let started = Instant::now();
    let sender = tokio::spawn(feed(requests, batches, pause, due.clone(), slots.clone()));
    let mut acknowledgements = client.collect_stream(request).await?.into_inner();
    let mut latency = microseconds();
    let mut pending = 0;
    for _ in 0..total {
        let ack = acknowledgements
            .message()
            .await?
            .context("the node closed the stream")?;
        if let Some(failure) = ack.failure {
            bail!("{}: {}", failure.kind, failure.message);
        }
        if let Some(dropped) = ack.dropped.first() {
            bail!("an event was dropped: {}", dropped.reason);
        }
        let since = due
            .lock()
            .remove(&ack.sequence)
            .context("an unknown sequence")?;
        record(&mut latency, since.elapsed());
        pending += u64::from(ack.is_pending);
        slots.add_permits(1);
    }
    sender.await??;
    Ok(Sent {
        took: started.elapsed(),
        latency,
        pending,
    })
}

async fn feed(
    requests: mpsc::Sender<CollectRequest>,
    batches: Vec<CollectRequest>,
    pause: Option<Duration>,
    due: Arc<Mutex<HashMap<u64, Instant>>>,
    slots: Arc<Semaphore>,
) -> anyhow::Result<()> {
    let mut ticks = pause.map(interval);
    if let Some(ticks) = &mut ticks {
        ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
    }
    for batch in batches {
        let at = match &mut ticks {
            Some(ticks) => ticks.tick().await.into_std(),
            None => {
                slots.acquire().await?.forget();
                Instant::now()
            }
        };
        due.lock().insert(batch.sequence, at);
        requests
            .send(batch)
            .await
            .context("the node closed the stream")?;
    }
    // The sender stays open until the last acknowledgement is in; dropping it here only ends our side.
    Ok(())
}

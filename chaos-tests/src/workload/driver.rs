//! Sends a plan at its own pace, whatever the node does: open loop.

use std::{collections::HashMap, sync::Arc, time::Duration};

use anyhow::Context;
use parking_lot::Mutex;
use tokio::{
    sync::{Semaphore, mpsc, watch},
    task::JoinHandle,
    time::{Instant, MissedTickBehavior, interval, sleep, timeout},
};

use super::{Batch, Generator, GeneratorOptions, Ledger, grpc};
use crate::client::Client;

/// Requests that may wait for an answer at the same time.
const IN_FLIGHT_MAX: usize = 256;
/// Between two attempts of one batch.
const RETRY_AFTER: Duration = Duration::from_millis(50);
/// A batch that is retried must be answered when the node has been up for so long.
const SETTLED_AFTER_MAX: Duration = Duration::from_secs(60);

/// Where a node answers now, and in which life; lives are counted over all nodes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// Address of HTTP.
    pub http: String,
    /// Address of gRPC.
    pub grpc: String,
    /// Counts the starts.
    pub life: u32,
}

/// How to send.
#[derive(Clone, Debug)]
pub struct DriverOptions {
    /// The plan.
    pub plan: GeneratorOptions,
    /// A write key for each domain.
    pub keys: HashMap<String, String>,
    /// Batches started each second.
    pub batches_per_second: u32,
    /// The batches of this domain go over the gRPC stream, which has one key.
    pub grpc_domain: String,
}

/// Clients at work.
#[derive(Debug)]
pub struct Driver {
    ledger: Arc<Mutex<Ledger>>,
    stop: watch::Sender<bool>,
    progress: watch::Receiver<u64>,
    task: JoinHandle<anyhow::Result<()>>,
}

/// What each client task needs.
#[derive(Clone)]
pub(super) struct Shared {
    pub(super) ledger: Arc<Mutex<Ledger>>,
    pub(super) endpoints: watch::Receiver<Vec<Endpoint>>,
    pub(super) keys: Arc<HashMap<String, String>>,
    progress: Arc<watch::Sender<u64>>,
}

impl Shared {
    /// A node that is up, as soon as there is one; with each turn another one, if there are several.
    pub(super) async fn endpoint(&self, turn: u64) -> anyhow::Result<Endpoint> {
        let mut endpoints = self.endpoints.clone();
        let up = endpoints
            .wait_for(|up| !up.is_empty())
            .await
            .context("the run has ended")?;
        let place = usize::try_from(turn)? % up.len();
        up.get(place).cloned().context("the place is one of them")
    }

    /// Waits for a later life of any node.
    async fn life_after(&self, life: u32) -> anyhow::Result<()> {
        let mut endpoints = self.endpoints.clone();
        let is_later = |up: &Vec<Endpoint>| up.iter().any(|now| now.life > life);
        endpoints
            .wait_for(is_later)
            .await
            .map(drop)
            .context("the run has ended")
    }

    pub(super) fn key(&self, batch: &Batch) -> anyhow::Result<&str> {
        let key = self.keys.get(&batch.domain);
        key.map(String::as_str)
            .with_context(|| format!("no key for {}", batch.domain))
    }

    pub(super) fn answered(&self, batch: &Batch, answer: &crate::client::Answer) {
        let mut ledger = self.ledger.lock();
        ledger.answered(batch, answer);
        self.progress.send_replace(ledger.acknowledged_batches());
    }
}

impl Driver {
    /// Starts to send to the nodes that are up.
    ///
    /// # Errors
    /// When no client can be made.
    pub fn start(
        options: DriverOptions,
        endpoints: watch::Receiver<Vec<Endpoint>>,
    ) -> anyhow::Result<Self> {
        let client = Client::new()?;
        let ledger = Arc::new(Mutex::new(Ledger::default()));
        let (stop, stopped) = watch::channel(false);
        let (progress, progress_seen) = watch::channel(0);
        let shared = Shared {
            ledger: ledger.clone(),
            endpoints,
            keys: Arc::new(options.keys.clone()),
            progress: Arc::new(progress),
        };
        let task = tokio::spawn(send_all(options, client, shared, stopped));
        Ok(Self {
            ledger,
            stop,
            progress: progress_seen,
            task,
        })
    }

    /// What the clients know so far.
    #[must_use]
    pub fn ledger(&self) -> &Arc<Mutex<Ledger>> {
        &self.ledger
    }

    /// Waits until so many more batches are acknowledged.
    ///
    /// # Errors
    /// When that takes a minute.
    pub async fn acknowledged_more(&mut self, batches: u64) -> anyhow::Result<()> {
        let goal = *self.progress.borrow() + batches;
        timeout(
            SETTLED_AFTER_MAX,
            self.progress.wait_for(|now| *now >= goal),
        )
        .await
        .context("no batch is acknowledged any more")?
        .context("the clients have ended")?;
        Ok(())
    }

    /// No new batches; waits until every batch that is retried has its answer. The node must be up.
    ///
    /// # Errors
    /// When a batch that is retried is never answered.
    pub async fn settle(self) -> anyhow::Result<Arc<Mutex<Ledger>>> {
        self.stop.send_replace(true);
        timeout(SETTLED_AFTER_MAX, self.task)
            .await
            .context("a batch that is sent again and again is never answered")???;
        Ok(self.ledger)
    }
}

async fn send_all(
    options: DriverOptions,
    client: Client,
    shared: Shared,
    mut stopped: watch::Receiver<bool>,
) -> anyhow::Result<()> {
    let slots = Arc::new(Semaphore::new(IN_FLIGHT_MAX));
    let (to_stream, of_stream) = mpsc::channel(IN_FLIGHT_MAX);
    let stream = tokio::spawn(grpc::send_all(shared.clone(), of_stream));
    let mut requests = tokio::task::JoinSet::new();
    let mut ticks = interval(Duration::from_secs(1) / options.batches_per_second);
    // Open loop: a slow node does not slow its visitors down.
    ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
    for batch in Generator::new(options.plan) {
        tokio::select! {
            _ = ticks.tick() => {}
            _ = stopped.wait_for(|stop| *stop) => break,
        }
        if batch.domain == options.grpc_domain {
            to_stream
                .send(batch)
                .await
                .context("the stream's client has ended")?;
            continue;
        }
        let slot = slots.clone().acquire_owned().await?;
        let (client, shared, stopped) = (client.clone(), shared.clone(), stopped.clone());
        requests.spawn(async move {
            let sent = send(&client, &shared, &batch, stopped).await;
            drop(slot);
            sent
        });
    }
    drop(to_stream);
    while let Some(sent) = requests.join_next().await {
        sent??;
    }
    stream.await?
}

/// One client with one batch, until it has an answer or gives up.
async fn send(
    client: &Client,
    shared: &Shared,
    batch: &Batch,
    mut stopped: watch::Receiver<bool>,
) -> anyhow::Result<()> {
    let key = shared.key(batch)?;
    let Some(life) = attempt_until_answered(client, shared, batch, key).await? else {
        return Ok(());
    };
    if batch.is_forgotten {
        // A client that lost the receipt asks again, in a later life of the node if there is one.
        tokio::select! {
            later = shared.life_after(life) => later?,
            _ = stopped.wait_for(|stop| *stop) => {}
        }
        attempt_until_answered(client, shared, batch, key).await?;
    }
    Ok(())
}

/// The life of the node that answered; none when the client gave up.
async fn attempt_until_answered(
    client: &Client,
    shared: &Shared,
    batch: &Batch,
    key: &str,
) -> anyhow::Result<Option<u32>> {
    let started = Instant::now();
    let mut turn = batch.number;
    loop {
        let endpoint = shared.endpoint(turn).await?;
        turn += 1;
        shared.ledger.lock().sending(batch);
        match client.send(&endpoint.http, key, batch).await {
            Ok(answer) => {
                shared.answered(batch, &answer);
                return Ok(Some(endpoint.life));
            }
            Err(_) if !batch.is_retried => return Ok(None),
            Err(error) if started.elapsed() > 2 * SETTLED_AFTER_MAX => {
                return Err(error.context(format!("batch {} is never answered", batch.number)));
            }
            Err(_) => sleep(RETRY_AFTER).await,
        }
    }
}

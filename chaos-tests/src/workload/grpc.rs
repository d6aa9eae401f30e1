//! A client of the gRPC stream: sends batches without waiting, matches acknowledgements by sequence.

use std::{collections::BTreeMap, time::Duration};

use ringtail_proto::wire::v1::{
    CollectAck, CollectRequest, Event, collector_client::CollectorClient,
};
use tokio::{
    sync::mpsc::{self, Receiver},
    time::sleep,
};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Streaming, transport::Channel};

use super::{Batch, EventName, driver::Shared};
use crate::client::{Answer, USER_AGENT};

/// Batches that may wait for their acknowledgement on one stream.
const PENDING_MAX: usize = 64;
/// Between two attempts to open the stream.
const RETRY_AFTER: Duration = Duration::from_millis(50);

/// Sends until the channel is closed and everything that is retried is acknowledged.
pub(super) async fn send_all(shared: Shared, mut batches: Receiver<Batch>) -> anyhow::Result<()> {
    let mut waiting = BTreeMap::new();
    let mut is_open = true;
    let mut turn = 0;
    while is_open || !waiting.is_empty() {
        if waiting.is_empty() {
            match batches.recv().await {
                Some(batch) => waiting.insert(batch.number, batch),
                None => break,
            };
        }
        // Whatever ends the stream, what waits is in doubt; a client that doesn't ask again leaves it so.
        if let Err(error) =
            one_stream(&shared, turn, &mut batches, &mut waiting, &mut is_open).await
        {
            if error.is::<NoKey>() {
                return Err(error);
            }
            sleep(RETRY_AFTER).await;
        }
        turn += 1;
        waiting.retain(|_, batch| batch.is_retried);
    }
    Ok(())
}

/// The plan names a site that has no key: a fault of the test.
#[derive(Debug)]
struct NoKey(String);

impl std::fmt::Display for NoKey {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl std::error::Error for NoKey {}

async fn one_stream(
    shared: &Shared,
    turn: u64,
    batches: &mut Receiver<Batch>,
    waiting: &mut BTreeMap<u64, Batch>,
    is_open: &mut bool,
) -> anyhow::Result<()> {
    let endpoint = shared.endpoint(turn).await?;
    let Some(first) = waiting.values().next() else {
        return Ok(());
    };
    let key = shared
        .key(first)
        .map_err(|error| NoKey(error.to_string()))?;
    let (requests, acknowledgements) = open(&endpoint.grpc, key).await?;
    let mut acknowledgements = acknowledgements;
    for batch in waiting.values() {
        shared.ledger.lock().sending(batch);
        requests.send(request(batch)).await?;
    }
    loop {
        tokio::select! {
            batch = batches.recv(), if *is_open && waiting.len() < PENDING_MAX => match batch {
                Some(batch) => {
                    shared.ledger.lock().sending(&batch);
                    let message = request(&batch);
                    waiting.insert(batch.number, batch);
                    requests.send(message).await?;
                }
                None => *is_open = false,
            },
            ack = acknowledgements.message() => match ack? {
                Some(ack) => acknowledged(shared, waiting, &ack)?,
                None => anyhow::bail!("the node closed the stream"),
            },
        }
        if !*is_open && waiting.is_empty() {
            return Ok(());
        }
    }
}

async fn open(
    grpc: &str,
    key: &str,
) -> anyhow::Result<(mpsc::Sender<CollectRequest>, Streaming<CollectAck>)> {
    let channel = Channel::from_shared(format!("http://{grpc}"))?
        .connect()
        .await?;
    let (requests, outgoing) = mpsc::channel(PENDING_MAX);
    let mut request = Request::new(ReceiverStream::new(outgoing));
    request
        .metadata_mut()
        .insert("authorization", format!("Bearer {key}").parse()?);
    let acknowledgements = CollectorClient::new(channel)
        .collect_stream(request)
        .await?;
    Ok((requests, acknowledgements.into_inner()))
}

fn acknowledged(
    shared: &Shared,
    waiting: &mut BTreeMap<u64, Batch>,
    ack: &CollectAck,
) -> anyhow::Result<()> {
    if let Some(failure) = &ack.failure {
        anyhow::bail!("{}: {}", failure.kind, failure.message);
    }
    let Some(batch) = waiting.remove(&ack.sequence) else {
        anyhow::bail!(
            "an acknowledgement of batch {}, which does not wait",
            ack.sequence
        );
    };
    let dropped = ack
        .dropped
        .iter()
        .map(|dropped| (dropped.position as usize, dropped.reason.clone()));
    let answer = Answer {
        accepted: u64::from(ack.durable),
        duplicate: 0,
        dropped: dropped.collect(),
    };
    shared.answered(&batch, &answer);
    Ok(())
}

/// The message of a batch.
pub(super) fn request(batch: &Batch) -> CollectRequest {
    let events = batch.events.iter().map(|event| Event {
        id: event.id.as_bytes().to_vec(),
        name: match event.name {
            EventName::Pageview => "pageview".to_owned(),
            EventName::Custom => "signup".to_owned(),
        },
        url: batch.url(),
        time_unix_ms: event.time.as_millisecond(),
        visitor: event.visitor_name(),
        user_agent: USER_AGENT.to_owned(),
        ..Event::default()
    });
    CollectRequest {
        site: batch.domain.clone(),
        events: events.collect(),
        sequence: batch.number,
    }
}

//! gRPC `ringtail.v1.Collector`: batches one by one, or as a stream that acknowledges each as it becomes durable.

use std::{borrow::Cow, net::IpAddr, sync::Arc};

use futures::{FutureExt, StreamExt, stream::FuturesUnordered};
use ringtail_proto::{
    DropReason, EventId, UnixMillis,
    wire::v1::{
        CollectAck, CollectRequest, CollectResponse, Dropped, Event, Failure,
        collector_server::{Collector, CollectorServer},
    },
};
use tokio::sync::{mpsc, watch};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{
    Request, Response, Status, Streaming,
    metadata::{AsciiMetadataValue, MetadataMap},
};

use super::{
    events::{Claims, Sender},
    fields::parse_revenue,
};
use crate::{CollectError, Collected, Envelope, Gateway, Hit, Signals, enricher::sent_id};

/// The service over a [`Gateway`].
#[derive(Clone)]
pub struct CollectorService {
    gateway: Arc<Gateway>,
}

impl CollectorService {
    /// The service.
    #[must_use]
    pub const fn new(gateway: Arc<Gateway>) -> Self {
        Self { gateway }
    }

    /// The service, ready to be mounted, with the gateway's limit of a message.
    #[must_use]
    pub fn server(gateway: Arc<Gateway>) -> CollectorServer<Self> {
        let bytes_max = gateway.settings().batch_body_bytes_max;
        CollectorServer::new(Self::new(gateway)).max_decoding_message_size(bytes_max)
    }
}

#[tonic::async_trait]
impl Collector for CollectorService {
    async fn collect(
        &self,
        request: Request<CollectRequest>,
    ) -> Result<Response<CollectResponse>, Status> {
        let caller = Caller::of(&request)?;
        let in_flight = self
            .gateway
            .begin_collect(&caller.envelope(), request.get_ref())
            .await;
        let answer = match in_flight {
            Ok(in_flight) => in_flight.applied().await,
            Err(error) => Err(error),
        };
        let answer = answer.map_err(|error| status(&error))?;
        let dropped = answer.dropped.iter().map(|dropped| Dropped {
            position: dropped.position,
            reason: dropped.reason.to_owned(),
        });
        Ok(Response::new(CollectResponse {
            accepted: answer.accepted,
            duplicate: answer.duplicate,
            pending: answer.pending,
            dropped: dropped.collect(),
        }))
    }

    type CollectStreamStream = ReceiverStream<Result<CollectAck, Status>>;

    async fn collect_stream(
        &self,
        request: Request<Streaming<CollectRequest>>,
    ) -> Result<Response<Self::CollectStreamStream>, Status> {
        let caller = Caller::of(&request)?;
        let batches_max = self.gateway.settings().stream_batches_max.max(1);
        let (acks, answers) = mpsc::channel(batches_max);
        let gateway = Arc::clone(&self.gateway);
        tokio::spawn(run_stream(
            gateway,
            caller,
            request.into_inner(),
            batches_max,
            acks,
        ));
        Ok(Response::new(ReceiverStream::new(answers)))
    }
}

/// Takes batches while fewer than `batches_max` wait, and acknowledges each as it becomes durable. Ends when the client
/// has ended its side or the node stops and all is answered, or when the client no longer listens.
async fn run_stream(
    gateway: Arc<Gateway>,
    caller: Caller,
    mut requests: Streaming<CollectRequest>,
    batches_max: usize,
    acks: mpsc::Sender<Result<CollectAck, Status>>,
) {
    let mut closing = gateway.streams_closing();
    let mut waiting = FuturesUnordered::new();
    let mut is_open = true;
    while is_open || !waiting.is_empty() {
        tokio::select! {
            // What is durable is told before more is taken.
            biased;
            Some(ack) = waiting.next(), if !waiting.is_empty() => {
                if acks.send(Ok(ack)).await.is_err() {
                    return;
                }
            }
            () = closed(&mut closing), if is_open => is_open = false,
            request = requests.message(), if is_open && waiting.len() < batches_max => match request {
                Ok(Some(request)) => {
                    let begun = gateway.begin_collect(&caller.envelope(), &request).await;
                    let gateway = Arc::clone(&gateway);
                    let sequence = request.sequence;
                    waiting.push(async move {
                        let outcome = match begun {
                            Ok(in_flight) => in_flight.committed().await.inspect_err(|error| gateway.count_refused(error)),
                            Err(error) => Err(error),
                        };
                        acknowledgement(sequence, outcome)
                    }.boxed());
                }
                Ok(None) => is_open = false,
                Err(status) => {
                    // The client went away or sent nonsense; what it sent before is still on its way.
                    tracing::debug!(%status, "collect stream broken");
                    is_open = false;
                }
            },
        }
    }
}

async fn closed(closing: &mut watch::Receiver<bool>) {
    // An error says that the gateway is gone, which it is not before its streams.
    let _ = closing.wait_for(|is_closing| *is_closing).await;
}

fn acknowledgement(sequence: u64, outcome: Result<Collected, CollectError>) -> CollectAck {
    match outcome {
        Ok(collected) => CollectAck {
            sequence,
            is_pending: collected.is_pending,
            durable: collected.durable,
            dropped: collected
                .dropped
                .iter()
                .map(|(position, reason)| Dropped {
                    position: *position,
                    reason: reason.name().to_owned(),
                })
                .collect(),
            failure: None,
        },
        Err(error) => CollectAck {
            sequence,
            is_pending: false,
            durable: 0,
            dropped: Vec::new(),
            failure: Some(Failure {
                kind: error.kind().name().to_owned(),
                message: error.to_string(),
                is_retryable: error.kind().is_retryable(),
                retry_after_ms: error.retry_after_ms().unwrap_or_default(),
            }),
        },
    }
}

fn status(error: &CollectError) -> Status {
    Status::new(error.kind().grpc_code(), error.to_string())
}

/// Peer and metadata of a call, which outlive its request in a stream.
struct Caller {
    peer: IpAddr,
    forwarded_for: Option<String>,
    user_agent: String,
    authorization: Option<String>,
    language: String,
    do_not_track: bool,
}

impl Caller {
    fn of<T>(request: &Request<T>) -> Result<Self, Status> {
        let metadata = request.metadata();
        let peer = request.remote_addr().map(|peer| peer.ip());
        Ok(Self {
            peer: peer.unwrap_or(Envelope::default().peer),
            forwarded_for: list(metadata, "x-forwarded-for")?,
            user_agent: text(metadata, "user-agent")?.unwrap_or_default(),
            authorization: text(metadata, "authorization")?,
            language: text(metadata, "accept-language")?.unwrap_or_default(),
            do_not_track: ["dnt", "sec-gpc"]
                .iter()
                .any(|name| metadata.get(*name).is_some_and(|value| value == "1")),
        })
    }

    fn envelope(&self) -> Envelope<'_> {
        Envelope {
            peer: self.peer,
            forwarded_for: self.forwarded_for.as_deref().map(Cow::Borrowed),
            user_agent: &self.user_agent,
            authorization: self.authorization.as_deref(),
            accept_language: &self.language,
            signals: Signals {
                do_not_track: self.do_not_track,
                consent: None,
            },
            ..Envelope::default()
        }
    }
}

fn text(metadata: &MetadataMap, name: &str) -> Result<Option<String>, Status> {
    let Some(value) = metadata.get(name) else {
        return Ok(None);
    };
    text_of(name, value).map(Some)
}

/// All values of a name as one list, as a proxy may add one of its own.
fn list(metadata: &MetadataMap, name: &str) -> Result<Option<String>, Status> {
    let values = metadata.get_all(name).iter();
    let values: Vec<String> = values
        .map(|value| text_of(name, value))
        .collect::<Result<_, _>>()?;
    Ok((!values.is_empty()).then(|| values.join(",")))
}

fn text_of(name: &str, value: &AsciiMetadataValue) -> Result<String, Status> {
    let text = value.to_str();
    let text = text.map_err(|_| Status::invalid_argument(format!("{name} is not text")))?;
    Ok(text.to_owned())
}

/// An event of the wire as a hit.
pub(crate) fn hit<'a>(
    event: &'a Event,
    domain: &'a str,
    sender: &Sender<'a>,
) -> Result<Hit<'a>, DropReason> {
    let id = match event.id.as_slice() {
        [] => None,
        bytes => {
            let bytes: [u8; 16] = bytes.try_into().map_err(|_| DropReason::Malformed)?;
            sent_id(EventId(u128::from_be_bytes(bytes)))
        }
    };
    let revenue = event.revenue.as_ref().map(|revenue| {
        parse_revenue(&revenue.amount, &revenue.currency).map_err(|_| DropReason::Malformed)
    });
    let some_text = |text: &'a str| (!text.is_empty()).then_some(Cow::Borrowed(text));
    let mut properties: Vec<_> = event
        .props
        .iter()
        .map(|(key, value)| (Cow::Borrowed(key.as_str()), Cow::Borrowed(value.as_str())))
        .collect();
    // A map of the wire has no order; the same event must not be logged in two ways.
    properties.sort_unstable();
    let mut hit = Hit {
        id,
        name: Cow::Borrowed(&event.name),
        referrer: Cow::Borrowed(&event.referrer),
        time: (event.time_unix_ms != 0).then_some(UnixMillis(event.time_unix_ms)),
        user_id: some_text(&event.user_id),
        language: match event.language.as_str() {
            "" => Cow::Borrowed(sender.envelope.accept_language),
            language => Cow::Borrowed(language),
        },
        screen_width: event.screen_width,
        properties,
        revenue: revenue.transpose()?,
        scroll_depth: event.scroll_depth.map(|depth| depth.min(100) as u8),
        engaged_ms: event.engaged_ms,
        is_interactive: event.interactive.unwrap_or(true),
        signals: Signals {
            // Whoever has a write key has asked its visitors.
            consent: sender.is_trusted.then_some(true),
            ..sender.envelope.signals
        },
        ..Hit::new(domain, event.url.as_str())
    };
    let claims = Claims {
        visitor: some_text(&event.visitor),
        user_agent: Cow::Borrowed(event.user_agent.as_str()),
        ip: &event.ip,
    };
    sender.attribute(&mut hit, claims)?;
    Ok(hit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_of_one_name_are_one_list() {
        let mut metadata = MetadataMap::new();
        let of = |metadata: &MetadataMap| list(metadata, "x-forwarded-for").ok().flatten();
        assert_eq!(of(&metadata), None);
        for address in ["192.0.2.1, 192.0.2.2", "192.0.2.3"] {
            let address = AsciiMetadataValue::from_static(address);
            metadata.append("x-forwarded-for", address);
        }
        let expect = "192.0.2.1, 192.0.2.2,192.0.2.3".to_owned();
        assert_eq!(of(&metadata), Some(expect));
    }
}

//! What is on its way to one peer: bounded, on one stream, behind a breaker.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use futures::{FutureExt as _, future::BoxFuture};
use metrics::{Counter, Gauge, counter, gauge};
use parking_lot::Mutex;
use ringtail_proto::{
    GroupId, NodeId,
    wire::peer::{ForwardRequest, events_client::EventsClient},
};
use tokio::{
    runtime::Handle,
    sync::{OwnedSemaphorePermit, Semaphore, mpsc},
};
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Channel;

use super::{
    breaker::Breaker,
    forward_stream::{Answers, ForwardStream},
};
use crate::{Clock, Proposed, RouteError, RouterOptions};

/// What an answer takes beside its verdicts.
const REPLY_BYTES: usize = 64 << 10;

/// What is on its way to one peer.
pub(crate) struct Peer {
    node: NodeId,
    clock: Arc<dyn Clock>,
    runtime: Handle,
    options: RouterOptions,
    breaker: Mutex<Breaker>,
    /// When the peer last answered, in milliseconds of [`Clock::elapsed`].
    heard_ms: AtomicU64,
    sequence: AtomicU64,
    stream: Mutex<Option<Arc<ForwardStream>>>,
    entries: Arc<Semaphore>,
    bytes: Arc<Semaphore>,
    forwards: Counter,
    breaker_gauge: Gauge,
}

impl Peer {
    pub(crate) fn new(
        node: NodeId,
        options: RouterOptions,
        clock: Arc<dyn Clock>,
        runtime: Handle,
    ) -> Self {
        let open = Duration::from_millis(options.breaker_open_ms);
        Self {
            node,
            clock,
            runtime,
            options,
            breaker: Mutex::new(Breaker::new(options.breaker_failures_max, open)),
            heard_ms: AtomicU64::new(0),
            sequence: AtomicU64::new(0),
            stream: Mutex::new(None),
            entries: Arc::new(Semaphore::new(options.forward_entries_max)),
            bytes: Arc::new(Semaphore::new(options.forward_bytes_max)),
            forwards: counter!("ringtail_route_forwards_total"),
            breaker_gauge: gauge!("ringtail_route_breaker_state", "peer" => node.to_string()),
        }
    }

    /// Waits for room and sends an entry; see [`crate::LeaderLink::forward`].
    pub(crate) async fn forward(
        self: Arc<Self>,
        channel: Option<Channel>,
        group: GroupId,
        entry: Bytes,
    ) -> Result<Box<dyn Proposed>, RouteError> {
        let unavailable = |message: String| RouteError::Unavailable { group, message };
        if !self.try_pass() {
            counter!("ringtail_route_breaker_refused_total").increment(1);
            let message = format!("node {} is given a rest", self.node);
            return Err(unavailable(message));
        }
        let Some(channel) = channel else {
            self.failed();
            let message = format!("there is no connection to node {}", self.node);
            return Err(unavailable(message));
        };
        let room = self.take_room(entry.len()).await;
        let sequence = self.sequence.fetch_add(1, Ordering::Relaxed);
        let lost = || unavailable(format!("the connection to node {} was lost", self.node));
        let stream = self.stream(channel);
        let answers = stream.expect(sequence, group).ok_or_else(lost)?;
        // From here on dropping it forgets the sequence.
        let forwarded = Forwarded {
            peer: Arc::clone(&self),
            stream: Arc::clone(&stream),
            group,
            sequence,
            sent_ms: self.now_ms(),
            is_answered: false,
            answers: Some(answers),
            _room: room,
        };
        let request = ForwardRequest {
            sequence,
            group: group.0,
            entry,
        };
        if !stream.send(request).await {
            return Err(lost());
        }
        self.forwards.increment(1);
        Ok(Box::new(forwarded))
    }

    fn try_pass(&self) -> bool {
        let mut breaker = self.breaker.lock();
        let may_pass = breaker.try_pass(self.clock.elapsed());
        self.breaker_gauge.set(breaker.gauge());
        may_pass
    }

    pub(crate) fn failed(&self) {
        let mut breaker = self.breaker.lock();
        breaker.failed(self.clock.elapsed());
        self.breaker_gauge.set(breaker.gauge());
    }

    pub(crate) fn succeeded(&self) {
        self.heard_ms.store(self.now_ms(), Ordering::Relaxed);
        let mut breaker = self.breaker.lock();
        breaker.succeeded();
        self.breaker_gauge.set(breaker.gauge());
    }

    fn now_ms(&self) -> u64 {
        self.clock.elapsed().as_millis() as u64
    }

    async fn take_room(&self, bytes: usize) -> Room {
        let bytes = bytes.min(self.options.forward_bytes_max) as u32;
        let entry = Arc::clone(&self.entries).acquire_owned().await;
        let bytes = Arc::clone(&self.bytes).acquire_many_owned(bytes).await;
        // They fail only once they are closed, and nobody closes them.
        Room(entry.ok(), bytes.ok())
    }

    /// The stream, a new one if the last was lost.
    fn stream(self: &Arc<Self>, channel: Channel) -> Arc<ForwardStream> {
        let mut current = self.stream.lock();
        if let Some(stream) = current.as_ref().filter(|stream| !stream.is_lost()) {
            return Arc::clone(stream);
        }
        let (sender, requests) = mpsc::channel(self.options.forward_entries_max);
        let stream = Arc::new(ForwardStream::new(sender));
        *current = Some(Arc::clone(&stream));
        let running = run(Arc::clone(self), Arc::clone(&stream), channel, requests);
        self.runtime.spawn(running);
        stream
    }
}

/// Carries one stream until it is lost.
async fn run(
    peer: Arc<Peer>,
    stream: Arc<ForwardStream>,
    channel: Channel,
    requests: mpsc::Receiver<ForwardRequest>,
) {
    let reply_bytes_max = peer.options.batch_events_max + REPLY_BYTES;
    let mut client = EventsClient::new(channel).max_decoding_message_size(reply_bytes_max);
    let reason = match client.forward(ReceiverStream::new(requests)).await {
        Err(status) => status.to_string(),
        Ok(response) => {
            let mut replies = response.into_inner();
            loop {
                match replies.message().await {
                    Ok(Some(reply)) => {
                        peer.succeeded();
                        if !stream.answer(reply) {
                            counter!("ringtail_route_unexpected_replies_total").increment(1);
                        }
                    }
                    Ok(None) => break "it was closed".to_owned(),
                    Err(status) => break status.to_string(),
                }
            }
        }
    };
    tracing::debug!(peer = %peer.node, %reason, "route: stream of entries ended");
    peer.failed();
    stream.lose(peer.node, &reason);
}

/// An entry's share of what may be on its way to the peer.
struct Room(
    #[allow(dead_code, reason = "held")] Option<OwnedSemaphorePermit>,
    #[allow(dead_code, reason = "held")] Option<OwnedSemaphorePermit>,
);

/// An entry at the peer. Dropping it gives up waiting; a peer that was silent all the while has failed.
struct Forwarded {
    peer: Arc<Peer>,
    stream: Arc<ForwardStream>,
    group: GroupId,
    sequence: u64,
    sent_ms: u64,
    is_answered: bool,
    answers: Option<Answers>,
    _room: Room,
}

impl Proposed for Forwarded {
    fn committed(&mut self) -> BoxFuture<'_, Result<(), RouteError>> {
        async move {
            let lost = lost(self.group);
            let Some(answers) = &mut self.answers else {
                return Err(lost);
            };
            let committed = (&mut answers.committed).await;
            self.is_answered = true;
            committed.unwrap_or(Err(lost))
        }
        .boxed()
    }

    fn applied(mut self: Box<Self>) -> BoxFuture<'static, Result<Bytes, RouteError>> {
        async move {
            let lost = lost(self.group);
            let Some(answers) = self.answers.take() else {
                return Err(lost);
            };
            answers.applied.await.unwrap_or(Err(lost))
        }
        .boxed()
    }
}

impl Drop for Forwarded {
    fn drop(&mut self) {
        self.stream.forget(self.sequence);
        let is_silent = self.peer.heard_ms.load(Ordering::Relaxed) < self.sent_ms;
        if !self.is_answered && is_silent {
            self.peer.failed();
        }
    }
}

fn lost(group: GroupId) -> RouteError {
    RouteError::InDoubt {
        group,
        message: "the answer was lost".to_owned(),
    }
}

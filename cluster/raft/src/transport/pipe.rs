//! One stream to one node: appends of all groups out, their answers back.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use ringtail_proto::NodeId;
use ringtail_proto::wire::peer::{self, raft_client::RaftClient};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, watch};
use tokio::task::JoinHandle;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;

use super::Channels;
use super::wire::{Answer, FRAMES_BYTES_MAX, MESSAGE_BYTES_MAX, append_bytes, to_answer};

/// Frames that wait for the stream; beyond that their groups wait.
const FRAMES_MAX: usize = 4096;
/// Bytes that wait for the stream, over all groups.
const WAITING_BYTES_MAX: usize = 64 << 20;
/// Messages handed to the connection ahead of what it has sent.
const MESSAGES_AHEAD_MAX: usize = 2;
/// Pause before the next attempt to reach a node that is not there.
const RECONNECT_PAUSE_MIN: Duration = Duration::from_millis(30);
const RECONNECT_PAUSE_MAX: Duration = Duration::from_millis(250);

type Answers = mpsc::UnboundedSender<Answer>;
pub(super) type AnswerReceiver = mpsc::UnboundedReceiver<Answer>;

/// One stream to one node. It connects by itself, and again when it breaks; the sessions on it end then.
pub(super) struct Pipe {
    shared: Arc<Shared>,
    carrier: JoinHandle<()>,
}

struct Shared {
    outgoing: mpsc::Sender<Outgoing>,
    room: Arc<Semaphore>,
    is_up: watch::Sender<bool>,
    sessions: Mutex<HashMap<u64, Answers>>,
    last_session: AtomicU64,
}

struct Outgoing {
    frame: peer::AppendFrame,
    bytes: usize,
    _room: OwnedSemaphorePermit,
}

/// A run of appends of one group. Dropping it ends the run.
pub(super) struct Session {
    shared: Arc<Shared>,
    id: u64,
    group: u32,
}

impl Pipe {
    /// Starts to connect. Must be called within a tokio runtime.
    pub(super) fn start(node: NodeId, channels: Channels) -> Self {
        let (outgoing, waiting) = mpsc::channel(FRAMES_MAX);
        let shared = Arc::new(Shared {
            outgoing,
            room: Arc::new(Semaphore::new(WAITING_BYTES_MAX)),
            is_up: watch::Sender::new(false),
            sessions: Mutex::default(),
            last_session: AtomicU64::new(0),
        });
        let carrier = Carrier {
            node,
            channels,
            shared: shared.clone(),
            waiting,
        };
        Self {
            shared,
            carrier: tokio::spawn(carrier.run()),
        }
    }

    /// One that leads nowhere, although it says that it stands.
    #[cfg(test)]
    pub(super) fn to_nowhere() -> Self {
        let pipe = Self::start(NodeId(2), Arc::new(|_| None));
        pipe.shared.is_up.send_replace(true);
        pipe
    }

    /// Follows whether the stream stands.
    pub(super) fn watch(&self) -> watch::Receiver<bool> {
        self.shared.is_up.subscribe()
    }

    /// Begins a run of appends; `None` while the node cannot be reached.
    pub(super) fn open(&self, group: u32) -> Option<(Session, AnswerReceiver)> {
        // Asked with the sessions in hand: one that came behind the end of its stream would wait for ever.
        let mut sessions = self.shared.sessions.lock();
        if !*self.shared.is_up.borrow() {
            return None;
        }
        let id = self.shared.last_session.fetch_add(1, Ordering::Relaxed) + 1;
        let (answers, receiver) = mpsc::unbounded_channel();
        sessions.insert(id, answers);
        let session = Session {
            shared: self.shared.clone(),
            id,
            group,
        };
        Some((session, receiver))
    }
}

impl Drop for Pipe {
    fn drop(&mut self) {
        self.carrier.abort();
        self.shared.end_sessions();
    }
}

impl Shared {
    /// The stream is down: nobody answers any more.
    fn end_sessions(&self) {
        self.is_up.send_replace(false);
        self.sessions.lock().clear();
    }

    fn deliver(&self, reply: peer::AppendReply) {
        let mut sessions = self.sessions.lock();
        let answer = to_answer(reply.outcome);
        let is_over = !matches!(answer, Answer::Append(_));
        let is_gone = sessions
            .get(&reply.session)
            .is_some_and(|answers| answers.send(answer).is_err());
        if is_over || is_gone {
            sessions.remove(&reply.session);
        }
    }
}

impl Session {
    /// Waits for room and sends. That the session is over shows in its answers.
    pub(super) async fn send(&self, append: peer::Append) {
        let _ = self.send_frame(self.frame(Some(append))).await;
    }

    /// The same for a heartbeat, of a leader that a majority has acknowledged or not; false when the session is over.
    pub(super) async fn send_heartbeat(&self, append: peer::Append, is_backed: bool) -> bool {
        let frame = peer::AppendFrame {
            is_heartbeat: true,
            is_backed,
            ..self.frame(Some(append))
        };
        self.send_frame(frame).await
    }

    /// There will be no more appends: the receiver answers those that it has, and then that it is done.
    pub(super) async fn end(&self) {
        // A session that is over has ended already.
        let _ = self.send_frame(self.frame(None)).await;
    }

    fn frame(&self, append: Option<peer::Append>) -> peer::AppendFrame {
        peer::AppendFrame {
            session: self.id,
            group: self.group,
            append,
            is_heartbeat: false,
            is_backed: false,
        }
    }

    async fn send_frame(&self, frame: peer::AppendFrame) -> bool {
        let bytes = frame.append.as_ref().map_or(1, append_bytes);
        let permits = u32::try_from(bytes.min(WAITING_BYTES_MAX)).unwrap_or(u32::MAX);
        let Ok(room) = self.shared.room.clone().acquire_many_owned(permits).await else {
            return false;
        };
        if !self.shared.sessions.lock().contains_key(&self.id) {
            return false;
        }
        let outgoing = Outgoing {
            frame,
            bytes,
            _room: room,
        };
        self.shared.outgoing.send(outgoing).await.is_ok()
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.shared.sessions.lock().remove(&self.id);
    }
}

/// Carries frames for as long as the pipe lives.
struct Carrier {
    node: NodeId,
    channels: Channels,
    shared: Arc<Shared>,
    waiting: mpsc::Receiver<Outgoing>,
}

impl Carrier {
    async fn run(mut self) {
        let mut pause = RECONNECT_PAUSE_MIN;
        loop {
            if let Some((frames, answers)) = self.connect().await {
                pause = RECONNECT_PAUSE_MIN;
                self.shared.is_up.send_replace(true);
                tracing::debug!(node = %self.node, "stream to a peer stands");
                let reason = self.carry(frames, answers).await;
                self.shared.end_sessions();
                tracing::info!(node = %self.node, reason, "stream to a peer ended");
            }
            self.drop_waiting();
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(RECONNECT_PAUSE_MAX);
        }
    }

    async fn connect(
        &self,
    ) -> Option<(
        mpsc::Sender<peer::AppendFrames>,
        Streaming<peer::AppendReplies>,
    )> {
        let channel = (self.channels)(self.node)?;
        let mut client = RaftClient::new(channel)
            .max_decoding_message_size(MESSAGE_BYTES_MAX)
            .max_encoding_message_size(MESSAGE_BYTES_MAX);
        let (frames, outgoing) = mpsc::channel(MESSAGES_AHEAD_MAX);
        match client.replicate(ReceiverStream::new(outgoing)).await {
            Ok(answers) => Some((frames, answers.into_inner())),
            Err(status) => {
                tracing::debug!(node = %self.node, %status, "peer cannot be reached");
                None
            }
        }
    }

    /// Carries until the stream breaks; says why it did.
    async fn carry(
        &mut self,
        frames: mpsc::Sender<peer::AppendFrames>,
        mut answers: Streaming<peer::AppendReplies>,
    ) -> String {
        loop {
            tokio::select! {
                // In this order, not in a drawn one, so that simulated runs repeat: answers are as many as what was
                // sent before, so they never keep frames back for long.
                biased;
                message = answers.message() => match message {
                    Ok(Some(replies)) => {
                        for reply in replies.replies {
                            self.shared.deliver(reply);
                        }
                    }
                    Ok(None) => return "the peer ended it".to_owned(),
                    Err(status) => return status.to_string(),
                },
                first = self.waiting.recv() => {
                    let Some(first) = first else {
                        return "the pipe is closed".to_owned();
                    };
                    let message = self.gather(first);
                    if frames.send(message).await.is_err() {
                        return "the peer takes nothing more".to_owned();
                    }
                }
            }
        }
    }

    /// One message of the first frame and those that wait behind it.
    fn gather(&mut self, first: Outgoing) -> peer::AppendFrames {
        let mut bytes = first.bytes;
        let mut frames = vec![first.frame];
        while bytes < FRAMES_BYTES_MAX
            && let Ok(next) = self.waiting.try_recv()
        {
            bytes += next.bytes;
            frames.push(next.frame);
        }
        peer::AppendFrames { frames }
    }

    /// Frames of sessions that are over.
    fn drop_waiting(&mut self) {
        while self.waiting.try_recv().is_ok() {}
    }
}

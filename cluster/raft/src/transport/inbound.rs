//! The receiving end of a stream of appends.

use std::collections::HashMap;
use std::sync::Arc;

use futures::StreamExt;
use openraft::raft::{AppendEntriesRequest, AppendEntriesResponse};
use ringtail_proto::GroupId;
use ringtail_proto::wire::peer::{self, append_reply::Outcome};
use tokio::sync::{Semaphore, mpsc, watch};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Status, Streaming};

use super::wire::{from_outcome, to_append};
use crate::group::Group;
use crate::raft_node::{Groups, find_group};
use crate::types::{Raft, TypeConfig};

/// Appends of one group that wait for it; beyond that the whole stream waits.
const APPENDS_WAITING_MAX: usize = 64;
/// Heartbeats being answered at once; further ones are dropped, as a lost packet would be.
const HEARTBEATS_MAX: usize = 4096;
/// Answers in one message.
const REPLIES_MAX: usize = 1024;

/// Hands appends to their groups, and the groups' answers to the stream.
pub(super) struct Inbound {
    groups: Arc<Groups>,
    replies: mpsc::Sender<peer::AppendReply>,
    /// The run of appends of each group: a later one takes the place of an earlier one.
    runs: HashMap<u32, Run>,
    heartbeats: Arc<Semaphore>,
}

struct Run {
    session: u64,
    appends: mpsc::Sender<AppendEntriesRequest<TypeConfig>>,
}

impl Inbound {
    pub(super) fn new(groups: Arc<Groups>, replies: mpsc::Sender<peer::AppendReply>) -> Self {
        Self {
            groups,
            replies,
            runs: HashMap::new(),
            heartbeats: Arc::new(Semaphore::new(HEARTBEATS_MAX)),
        }
    }

    /// Reads until the stream or the node ends.
    pub(super) async fn run(
        mut self,
        mut frames: Streaming<peer::AppendFrames>,
        mut stopped: watch::Receiver<bool>,
    ) {
        loop {
            let message = tokio::select! {
                message = frames.message() => message,
                _ = stopped.wait_for(|is_stopped| *is_stopped) => return,
            };
            match message {
                Ok(Some(message)) => {
                    for frame in message.frames {
                        self.take(frame).await;
                    }
                }
                Ok(None) => return,
                Err(status) => {
                    tracing::debug!(%status, "stream of a peer broke");
                    return;
                }
            }
        }
    }

    async fn take(&mut self, frame: peer::AppendFrame) {
        let (session, group) = (frame.session, frame.group);
        let Some(append) = frame.append else {
            self.end_run(group, session);
            return;
        };
        let request = match to_append(append) {
            Ok(request) => request,
            Err(error) => {
                metrics::counter!("ringtail_replicate_malformed_messages_total").increment(1);
                tracing::warn!(group, %error, "append refused");
                self.end_run(group, session);
                self.close(session, error.to_string()).await;
                return;
            }
        };
        let Some(replica) = find_group(&self.groups, GroupId(group)) else {
            self.close(session, "the group is not here".to_owned())
                .await;
            return;
        };
        if frame.is_heartbeat {
            self.answer_heartbeat(replica, session, request, frame.is_backed);
        } else {
            let raft = replica.raft().clone();
            self.append(raft, group, session, request).await;
        }
    }

    fn end_run(&mut self, group: u32, session: u64) {
        if self
            .runs
            .get(&group)
            .is_some_and(|run| run.session == session)
        {
            self.runs.remove(&group);
        }
    }

    async fn append(
        &mut self,
        raft: Raft,
        group: u32,
        session: u64,
        request: AppendEntriesRequest<TypeConfig>,
    ) {
        let run = match self.runs.get(&group) {
            Some(run) if run.session == session => run,
            // Whoever still sends in it has to begin another one, or it would wait for answers for ever.
            Some(run) if run.session > session => {
                self.close(session, "a later run took its place".to_owned())
                    .await;
                return;
            }
            _ => {
                let run = self.start_run(raft, session);
                self.runs.insert(group, run);
                match self.runs.get(&group) {
                    Some(run) => run,
                    None => return,
                }
            }
        };
        if run.appends.send(request).await.is_err() {
            self.end_run(group, session);
        }
    }

    fn start_run(&self, raft: Raft, session: u64) -> Run {
        let (appends, waiting) = mpsc::channel(APPENDS_WAITING_MAX);
        let replies = self.replies.clone();
        tokio::spawn(async move {
            let answers = raft.stream_append(ReceiverStream::new(waiting));
            futures::pin_mut!(answers);
            let mut end = Outcome::Ended(peer::Ended {});
            while let Some(answer) = answers.next().await {
                let outcome = match answer {
                    Ok(result) => from_outcome(result),
                    Err(error) => {
                        end = Outcome::Closed(error.to_string());
                        break;
                    }
                };
                if replies.send(reply(session, outcome)).await.is_err() {
                    return;
                }
            }
            // Nobody listens when the stream is gone.
            let _ = replies.send(reply(session, end)).await;
        });
        Run { session, appends }
    }

    fn answer_heartbeat(
        &self,
        replica: Group,
        session: u64,
        request: AppendEntriesRequest<TypeConfig>,
        is_backed: bool,
    ) {
        let Ok(permit) = self.heartbeats.clone().try_acquire_owned() else {
            return;
        };
        let replies = self.replies.clone();
        tokio::spawn(async move {
            let previous = request.prev_log_id;
            let last = request.entries.last().map(|entry| entry.log_id);
            let outcome = match replica.raft().append_entries(request).await {
                Ok(AppendEntriesResponse::Conflict) if previous.is_none() => {
                    Outcome::Closed("a conflict before the first entry".to_owned())
                }
                Ok(response) => {
                    // The ring may have left a leader that only some followers still hear behind, and them with it.
                    if response.is_success() && is_backed {
                        replica.renew_contact();
                    }
                    from_outcome(response.into_stream_result(previous, last.or(previous)))
                }
                Err(error) => Outcome::Closed(error.to_string()),
            };
            // Nobody listens when the stream is gone.
            let _ = replies.send(reply(session, outcome)).await;
            drop(permit);
        });
    }

    async fn close(&self, session: u64, reason: String) {
        // Nobody listens when the stream is gone.
        let _ = self
            .replies
            .send(reply(session, Outcome::Closed(reason)))
            .await;
    }
}

fn reply(session: u64, outcome: Outcome) -> peer::AppendReply {
    peer::AppendReply {
        session,
        outcome: Some(outcome),
    }
}

/// Gathers answers into messages until both ends are gone.
pub(super) async fn send_replies(
    mut replies: mpsc::Receiver<peer::AppendReply>,
    messages: mpsc::Sender<Result<peer::AppendReplies, Status>>,
) {
    let mut gathered = Vec::new();
    while replies.recv_many(&mut gathered, REPLIES_MAX).await > 0 {
        let message = peer::AppendReplies {
            replies: std::mem::take(&mut gathered),
        };
        if messages.send(Ok(message)).await.is_err() {
            return;
        }
    }
}

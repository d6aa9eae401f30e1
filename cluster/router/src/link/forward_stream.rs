//! One stream of entries to one peer: what was sent waits here for its answers.

use bytes::Bytes;
use hashbrown::HashMap;
use parking_lot::Mutex;
use ringtail_proto::{
    ErrorKind, GroupId, NodeId,
    wire::peer::{ForwardReply, ForwardRequest, Refused, forward_reply::Answer},
};
use tokio::sync::{mpsc, oneshot};

use crate::RouteError;

/// One stream of entries to one peer.
pub(crate) struct ForwardStream {
    requests: mpsc::Sender<ForwardRequest>,
    /// By sequence; none once the stream is lost.
    waiting: Mutex<Option<HashMap<u64, Waiter>>>,
}

struct Waiter {
    group: GroupId,
    committed: Option<oneshot::Sender<Result<(), RouteError>>>,
    applied: oneshot::Sender<Result<Bytes, RouteError>>,
}

/// The answers to one entry.
pub(crate) struct Answers {
    pub(crate) committed: oneshot::Receiver<Result<(), RouteError>>,
    pub(crate) applied: oneshot::Receiver<Result<Bytes, RouteError>>,
}

impl ForwardStream {
    pub(crate) fn new(requests: mpsc::Sender<ForwardRequest>) -> Self {
        Self {
            requests,
            waiting: Mutex::new(Some(HashMap::new())),
        }
    }

    pub(crate) fn is_lost(&self) -> bool {
        self.waiting.lock().is_none()
    }

    /// Expects answers to an entry; none when the stream is lost.
    pub(crate) fn expect(&self, sequence: u64, group: GroupId) -> Option<Answers> {
        let (committed_sender, committed) = oneshot::channel();
        let (applied_sender, applied) = oneshot::channel();
        let waiter = Waiter {
            group,
            committed: Some(committed_sender),
            applied: applied_sender,
        };
        self.waiting.lock().as_mut()?.insert(sequence, waiter);
        Some(Answers { committed, applied })
    }

    /// Sends an entry as soon as there is room; false when the stream is lost.
    pub(crate) async fn send(&self, request: ForwardRequest) -> bool {
        self.requests.send(request).await.is_ok()
    }

    /// Nobody waits for this entry any more.
    pub(crate) fn forget(&self, sequence: u64) {
        if let Some(waiting) = self.waiting.lock().as_mut() {
            waiting.remove(&sequence);
        }
    }

    /// Hands an answer to whoever waits for it; false when nobody does, or it says nothing.
    pub(crate) fn answer(&self, reply: ForwardReply) -> bool {
        let mut waiting = self.waiting.lock();
        let Some(waiting) = waiting.as_mut() else {
            return false;
        };
        let Some(answer) = reply.answer else {
            return false;
        };
        if let Answer::Committed(_) = answer {
            let Some(waiter) = waiting.get_mut(&reply.sequence) else {
                return false;
            };
            waiter.commit(Ok(()));
            return true;
        }
        let Some(mut waiter) = waiting.remove(&reply.sequence) else {
            return false;
        };
        let applied = match answer {
            Answer::Applied(reply) => {
                waiter.commit(Ok(()));
                Ok(reply)
            }
            Answer::Refused(refused) => Err(waiter.refusal(&refused)),
            Answer::Committed(_) => return true,
        };
        if let Err(error) = &applied {
            waiter.commit(Err(error.clone()));
        }
        // Whoever gave up waiting is gone.
        drop(waiter.applied.send(applied));
        true
    }

    /// The stream is lost: whatever waits is in doubt.
    pub(crate) fn lose(&self, peer: NodeId, reason: &str) {
        let Some(waiting) = self.waiting.lock().take() else {
            return;
        };
        for mut waiter in waiting.into_values() {
            let error = RouteError::InDoubt {
                group: waiter.group,
                message: format!("the connection to node {peer} was lost: {reason}"),
            };
            waiter.commit(Err(error.clone()));
            drop(waiter.applied.send(Err(error)));
        }
    }
}

impl Waiter {
    fn commit(&mut self, answer: Result<(), RouteError>) {
        if let Some(sender) = self.committed.take() {
            drop(sender.send(answer));
        }
    }

    /// What a refusal means on this side.
    fn refusal(&self, refused: &Refused) -> RouteError {
        let group = self.group;
        let message = refused.message.clone();
        if refused.may_commit {
            return RouteError::InDoubt { group, message };
        }
        let is_kind = |kind: ErrorKind| refused.kind == kind.name();
        if refused.leader.is_some() {
            let leader = refused.leader.map(NodeId);
            return RouteError::NotLeader { group, leader };
        }
        if is_kind(ErrorKind::StorageFull) {
            return RouteError::StorageFull;
        }
        if is_kind(ErrorKind::Unavailable) || is_kind(ErrorKind::Overloaded) {
            return RouteError::Unavailable { group, message };
        }
        RouteError::Refused { group, message }
    }
}

//! A command on its way through the log.

use bytes::Bytes;
use openraft::errors::ClientWriteError;
use openraft::raft::ClientWriteResult;
use ringtail_proto::{GroupId, NodeId};
use tokio::sync::oneshot;

use crate::convert;
use crate::error::RaftError;
use crate::machine::LogPosition;
use crate::responder::CallbackResponder;
use crate::types::TypeConfig;

/// What applying a command gave.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Applied {
    /// Where the command stands.
    pub position: LogPosition,
    /// The machine's reply.
    pub reply: Bytes,
}

/// A command that was handed to its group. Dropping it does not take the command back.
///
/// Both stages can be awaited, in this order or only the last.
#[derive(Debug)]
pub struct Proposal {
    group: GroupId,
    committed: oneshot::Receiver<Result<LogPosition, RaftError>>,
    applied: oneshot::Receiver<Result<Applied, RaftError>>,
}

type WriteResponder = CallbackResponder<ClientWriteResult<TypeConfig>>;

impl Proposal {
    /// A proposal, and what completes it. `room` is given back when the command is done.
    pub(crate) fn new(group: GroupId, room: impl Send + 'static) -> (Self, WriteResponder) {
        let (committed_sender, committed) = oneshot::channel();
        let (applied_sender, applied) = oneshot::channel();
        // Whoever learns first that the command failed tells both waiters; the lock is never contended.
        let committed_sender = std::sync::Arc::new(parking_lot::Mutex::new(Some(committed_sender)));
        let failed_sender = committed_sender.clone();
        let responder = CallbackResponder::new(
            move |log_id| {
                if let Some(sender) = committed_sender.lock().take() {
                    // Only an error when nobody waits for this stage.
                    let _ = sender.send(Ok(convert::position(&log_id)));
                }
            },
            move |result: ClientWriteResult<TypeConfig>| {
                let result = result
                    .map(|response| Applied {
                        position: convert::position(&response.log_id),
                        reply: response.data.0,
                    })
                    .map_err(|error| proposal_error(group, &error));
                if let (Err(error), Some(sender)) = (&result, failed_sender.lock().take()) {
                    let _ = sender.send(Err(error.clone()));
                }
                let _ = applied_sender.send(result);
                drop(room);
            },
        );
        let proposal = Self {
            group,
            committed,
            applied,
        };
        (proposal, responder)
    }

    /// Waits until a quorum holds the command on disk; it is applied some time later.
    ///
    /// May be awaited once; [`RaftError::may_commit`] tells of an error whether the command may yet commit.
    pub async fn committed(&mut self) -> Result<LogPosition, RaftError> {
        let group = self.group;
        (&mut self.committed)
            .await
            .unwrap_or_else(|_| Err(stopped(group)))
    }

    /// Waits until the command is applied on this node, and returns the machine's reply.
    pub async fn applied(self) -> Result<Applied, RaftError> {
        let group = self.group;
        self.applied.await.unwrap_or_else(|_| Err(stopped(group)))
    }
}

/// A group that stops drops its proposals; each may be on disk here or elsewhere.
fn stopped(group: GroupId) -> RaftError {
    RaftError::InDoubt {
        group,
        cause: "the group stopped".to_owned(),
    }
}

fn proposal_error(group: GroupId, error: &ClientWriteError<TypeConfig>) -> RaftError {
    match error {
        ClientWriteError::ForwardToLeader(forward) => RaftError::NotLeader {
            group,
            leader: forward.leader_id.map(NodeId),
        },
        // Discarded entries may have reached a quorum; the others do not happen to commands.
        ClientWriteError::LogEntryDiscarded(_)
        | ClientWriteError::ChangeMembershipError(_)
        | ClientWriteError::PreconditionFailed(_) => RaftError::InDoubt {
            group,
            cause: error.to_string(),
        },
    }
}

//! The two answers that a submission waits for.

use bytes::Bytes;
use ringtail_proto::{GroupId, Verdict};
use tokio::sync::oneshot;

use crate::{RouteError, budget::Charge};

/// Events on their way into a log.
#[derive(Debug)]
pub struct Submission {
    answers: Answers<Vec<Verdict>>,
}

impl Submission {
    /// Waits until a quorum holds the events on disk: from then on they are never lost.
    ///
    /// # Errors
    /// Why they are not; see [`RouteError::may_commit`].
    pub async fn committed(&mut self) -> Result<(), RouteError> {
        self.answers.committed().await
    }

    /// Waits until the events are applied, and tells what became of each, in order.
    ///
    /// # Errors
    /// Why that is unknown; see [`RouteError::may_commit`].
    pub async fn applied(self) -> Result<Vec<Verdict>, RouteError> {
        self.answers.applied().await
    }
}

/// A command on its way into a log.
#[derive(Debug)]
pub struct CommandSubmission {
    answers: Answers<Bytes>,
}

impl CommandSubmission {
    /// Waits until a quorum holds the command on disk.
    ///
    /// # Errors
    /// See [`Submission::committed`].
    pub async fn committed(&mut self) -> Result<(), RouteError> {
        self.answers.committed().await
    }

    /// Waits until the command is applied, and hands out apply's reply.
    ///
    /// # Errors
    /// See [`Submission::applied`].
    pub async fn applied(self) -> Result<Bytes, RouteError> {
        self.answers.applied().await
    }
}

#[derive(Debug)]
struct Answers<T> {
    group: GroupId,
    committed: oneshot::Receiver<Result<(), RouteError>>,
    applied: oneshot::Receiver<Result<T, RouteError>>,
    /// The first answer, kept for whoever asks again.
    is_committed: Option<Result<(), RouteError>>,
}

impl<T> Answers<T> {
    async fn committed(&mut self) -> Result<(), RouteError> {
        if let Some(answer) = &self.is_committed {
            return answer.clone();
        }
        let answer = match (&mut self.committed).await {
            Ok(answer) => answer,
            Err(_) => Err(self.lost()),
        };
        self.is_committed = Some(answer.clone());
        answer
    }

    async fn applied(self) -> Result<T, RouteError> {
        let lost = self.lost();
        self.applied.await.unwrap_or(Err(lost))
    }

    /// A ticket answers when it is dropped, so this is what a torn-down process would see, if anything.
    fn lost(&self) -> RouteError {
        RouteError::InDoubt {
            group: self.group,
            message: "the answer was lost".to_owned(),
        }
    }
}

/// The other end of a submission. It answers for certain: when it is dropped without an answer, it says whether the
/// entry may have been written.
pub(crate) struct Ticket<T> {
    group: GroupId,
    committed: Option<oneshot::Sender<Result<(), RouteError>>>,
    applied: Option<oneshot::Sender<Result<T, RouteError>>>,
    is_proposed: bool,
    charge: Option<Charge>,
}

impl Ticket<Vec<Verdict>> {
    pub(crate) fn for_events(group: GroupId, charge: Charge) -> (Self, Submission) {
        let (ticket, answers) = pair(group, charge);
        (ticket, Submission { answers })
    }

    /// Answers a submission without events, which needs no entry.
    pub(crate) fn answer_nothing(mut self) {
        self.answer_committed(Ok(()));
        self.send_applied(Ok(Vec::new()));
    }
}

impl Ticket<Bytes> {
    pub(crate) fn for_command(group: GroupId, charge: Charge) -> (Self, CommandSubmission) {
        let (ticket, answers) = pair(group, charge);
        (ticket, CommandSubmission { answers })
    }
}

fn pair<T>(group: GroupId, charge: Charge) -> (Ticket<T>, Answers<T>) {
    let (committed_sender, committed) = oneshot::channel();
    let (applied_sender, applied) = oneshot::channel();
    let ticket = Ticket {
        group,
        committed: Some(committed_sender),
        applied: Some(applied_sender),
        is_proposed: false,
        charge: Some(charge),
    };
    (
        ticket,
        Answers {
            group,
            committed,
            applied,
            is_committed: None,
        },
    )
}

impl<T> Ticket<T> {
    /// From now on the entry may be written, whatever happens to this ticket.
    pub(crate) fn mark_proposed(&mut self) {
        self.is_proposed = true;
    }

    pub(crate) fn answer_committed(&mut self, answer: Result<(), RouteError>) {
        if let Some(sender) = self.committed.take() {
            // Whoever submitted may have gone; the events go on without them.
            drop(sender.send(answer));
        }
    }

    pub(crate) fn answer_applied(mut self, answer: Result<T, RouteError>) {
        self.send_applied(answer);
    }

    pub(crate) fn refuse(mut self, error: &RouteError) {
        self.answer_committed(Err(error.clone()));
        self.send_applied(Err(error.clone()));
    }

    fn send_applied(&mut self, answer: Result<T, RouteError>) {
        // Whoever has the answer may submit again at once, so its share is free before.
        self.charge = None;
        if let Some(sender) = self.applied.take() {
            drop(sender.send(answer));
        }
    }
}

impl<T> Drop for Ticket<T> {
    fn drop(&mut self) {
        if self.committed.is_none() && self.applied.is_none() {
            return;
        }
        let error = match self.is_proposed {
            false => RouteError::Stopping,
            true => RouteError::InDoubt {
                group: self.group,
                message: "the node stopped before the answer came".to_owned(),
            },
        };
        self.answer_committed(Err(error.clone()));
        self.send_applied(Err(error));
    }
}

//! The two answers that a submission waits for.

use bytes::Bytes;
use ringtail_proto::GroupId;
use tokio::sync::oneshot;

use crate::{Applied, Durability, RouteError, budget::Charge};

/// Events on their way into a log.
#[derive(Debug)]
pub struct Submission {
    answers: Answers<Applied>,
}

impl Submission {
    /// Waits until a quorum or a spool holds the events on disk: from then on they are never lost.
    ///
    /// # Errors
    /// Why they are not; see [`RouteError::may_commit`].
    pub async fn committed(&mut self) -> Result<Durability, RouteError> {
        self.answers.committed().await
    }

    /// Waits until the events are applied or spooled, and tells what became of each, in order, if that is known.
    ///
    /// # Errors
    /// Why that is unknown; see [`RouteError::may_commit`].
    pub async fn applied(self) -> Result<Applied, RouteError> {
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
        self.answers.committed().await.map(drop)
    }

    /// Waits until the command is applied, and hands out apply's reply.
    ///
    /// # Errors
    /// See [`Submission::applied`].
    pub async fn applied(self) -> Result<Bytes, RouteError> {
        self.answers.applied().await
    }
}

/// A whole entry from another node or from the spool, on its way into a log.
#[derive(Debug)]
pub struct EntrySubmission {
    answers: Answers<Bytes>,
}

impl EntrySubmission {
    /// Waits until a quorum holds the entry on disk.
    ///
    /// # Errors
    /// See [`Submission::committed`].
    pub async fn committed(&mut self) -> Result<(), RouteError> {
        self.answers.committed().await.map(drop)
    }

    /// Apply's reply: a verdict's code for each event, or a command's answer.
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
    committed: oneshot::Receiver<Result<Durability, RouteError>>,
    applied: oneshot::Receiver<Result<T, RouteError>>,
    /// The first answer, kept for whoever asks again.
    is_committed: Option<Result<Durability, RouteError>>,
}

impl<T> Answers<T> {
    async fn committed(&mut self) -> Result<Durability, RouteError> {
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
    committed: Option<oneshot::Sender<Result<Durability, RouteError>>>,
    applied: Option<oneshot::Sender<Result<T, RouteError>>>,
    is_proposed: bool,
    charge: Option<Charge>,
}

impl Ticket<Applied> {
    pub(crate) fn for_events(group: GroupId, charge: Charge) -> (Self, Submission) {
        let (ticket, answers) = pair(group, charge);
        (ticket, Submission { answers })
    }

    /// Answers a submission without events, which needs no entry.
    pub(crate) fn answer_nothing(mut self) {
        self.answer_committed(Ok(Durability::Quorum));
        self.send_applied(Ok(Applied::Verdicts(Vec::new())));
    }
}

impl Ticket<Bytes> {
    pub(crate) fn for_entry(group: GroupId, charge: Charge) -> (Self, EntrySubmission) {
        let (ticket, answers) = pair(group, charge);
        (ticket, EntrySubmission { answers })
    }

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

    pub(crate) fn answer_committed(&mut self, answer: Result<Durability, RouteError>) {
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

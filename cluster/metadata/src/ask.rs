//! Reaching the leader of group 0 from any node, in time.

use std::time::Duration;

use bytes::Bytes;
use ringtail_proto::{ErrorKind, LogIndex, NodeId};
use ringtail_raft::RaftError;
use tokio::time::{Instant, timeout, timeout_at};

use crate::{LinkError, METADATA_GROUP, Metadata, MetadataError, Written};

/// Pauses between tries: the first, and the most.
const PAUSE_MIN: Duration = Duration::from_millis(20);
const PAUSE_MAX: Duration = Duration::from_millis(500);

/// What is wanted of the leader.
pub(crate) enum Ask {
    /// An entry in the log.
    Write { entry: Bytes, is_repeatable: bool },
    /// Everything that was acknowledged before.
    Read,
}

/// Why one try came to nothing.
enum Failure {
    /// Another try may do better, and can do no harm.
    Passing(MetadataError),
    /// Another try would end alike, or the entry may be carried out already.
    Final(MetadataError),
}

impl Metadata {
    /// Asks until there is an answer that this node's directory shows, or the deadline is reached.
    pub(crate) async fn ask(&self, ask: &Ask) -> Result<Written, MetadataError> {
        let deadline = Instant::now() + self.deadline;
        let mut pause = PAUSE_MIN;
        for attempt in 0.. {
            let leader = self.group.leader();
            let error = match timeout_at(deadline, self.ask_once(ask, attempt)).await {
                Ok(Ok(written)) => return self.shown(ask, written, deadline).await,
                Ok(Err(Failure::Final(error))) => return Err(error),
                Ok(Err(Failure::Passing(error))) => error,
                Err(_elapsed) => {
                    return Err(ask.unfinished("the leader did not answer in time".to_owned()));
                }
            };
            if Instant::now() + pause >= deadline {
                return Err(error);
            }
            tracing::debug!(%error, "metadata: another try");
            // Whichever comes first: somebody else leads, or it is time to ask again.
            let _ = timeout(pause, self.group.leader_changed(leader)).await;
            pause = PAUSE_MAX.min(pause * 2);
        }
        Err(ask.unfinished("the leader was asked for ever".to_owned()))
    }

    /// A leader that this node does not hear of may still be there: one that came back at another address is known to
    /// nobody until it has said so.
    fn guess(&self, attempt: usize) -> Option<NodeId> {
        let placement = self.directory().placement();
        let place = placement.get(&METADATA_GROUP);
        let voters = place.map_or(&*self.first_guesses, |place| &place.voters);
        voters.get(attempt % voters.len().max(1)).copied()
    }

    async fn ask_once(&self, ask: &Ask, attempt: usize) -> Result<Written, Failure> {
        if self.group.is_leader() {
            let answer = match ask {
                Ask::Write { entry, .. } => self.group.propose(entry.clone()).await,
                Ask::Read => self.group.read_index().await.map(Written::at),
            };
            return answer.map_err(|error| ask.failed_here(error));
        }
        let Some(leader) = self.group.leader().or_else(|| self.guess(attempt)) else {
            let message = "group 0 has no leader now".to_owned();
            return Err(Failure::Passing(MetadataError::Unavailable { message }));
        };
        let answer = match ask {
            Ask::Write { entry, .. } => self.link.propose(leader, entry.clone()).await,
            Ask::Read => self.link.read_index(leader).await.map(Written::at),
        };
        answer.map_err(|error| ask.failed_there(error))
    }

    /// What the leader has applied, this node applies a moment later.
    async fn shown(
        &self,
        ask: &Ask,
        written: Written,
        deadline: Instant,
    ) -> Result<Written, MetadataError> {
        let mut applied = self.machine.applied();
        let reached = applied.wait_for(|index| *index >= written.index);
        match timeout_at(deadline, reached).await {
            Ok(Ok(_)) => Ok(written),
            _ => Err(ask.unfinished(format!(
                "this node has not applied entry {} yet",
                written.index
            ))),
        }
    }
}

impl Ask {
    fn failed_here(&self, error: RaftError) -> Failure {
        let is_passing = match error {
            RaftError::NotLeader { .. } | RaftError::NoQuorum { .. } => true,
            RaftError::InDoubt { .. } => self.is_repeatable(),
            _ => false,
        };
        Failure::new(is_passing, from_raft(error))
    }

    fn failed_there(&self, error: LinkError) -> Failure {
        match error {
            LinkError::NotWritten(message) => {
                Failure::Passing(MetadataError::Unavailable { message })
            }
            LinkError::InDoubt(message) => {
                Failure::new(self.is_repeatable(), MetadataError::InDoubt { message })
            }
            LinkError::Refused(error) => Failure::Final(error),
        }
    }

    /// The deadline was reached with the question on its way.
    fn unfinished(&self, message: String) -> MetadataError {
        match self {
            Self::Write { .. } => MetadataError::InDoubt { message },
            Self::Read => MetadataError::Unavailable { message },
        }
    }

    const fn is_repeatable(&self) -> bool {
        match self {
            Self::Write { is_repeatable, .. } => *is_repeatable,
            Self::Read => true,
        }
    }
}

impl Failure {
    const fn new(is_passing: bool, error: MetadataError) -> Self {
        if is_passing {
            Self::Passing(error)
        } else {
            Self::Final(error)
        }
    }
}

impl Written {
    /// The answer to a read.
    const fn at(index: LogIndex) -> Self {
        Self {
            reply: Bytes::new(),
            index,
        }
    }
}

pub(crate) fn from_raft(error: RaftError) -> MetadataError {
    let message = error.to_string();
    if error.may_commit() {
        return MetadataError::InDoubt { message };
    }
    match error.kind() {
        ErrorKind::StorageFull => MetadataError::StorageFull { message },
        ErrorKind::Unavailable => MetadataError::Unavailable { message },
        _ => MetadataError::Storage { message },
    }
}

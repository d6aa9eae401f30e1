//! Between openraft's messages and those on the wire. What comes from a peer is checked here once.

use openraft::raft::{AppendEntriesRequest, StreamAppendError, StreamAppendResult};
use ringtail_log as log;
use ringtail_proto::wire::peer;
use ringtail_proto::{LogIndex, NodeId};

use crate::convert;
use crate::error::RaftError;
use crate::types::{LeaderId, LogId, TypeConfig, Vote};

/// Largest message of the Raft service: a command of the largest size and what may stand beside it in a frame.
pub(crate) const MESSAGE_BYTES_MAX: usize = 40 << 20;
/// A frame is not added to a message of this many bytes.
pub(super) const FRAMES_BYTES_MAX: usize = 4 << 20;
/// What an append takes beside its bodies, roughly.
const ENTRY_OVERHEAD_BYTES: usize = 48;

pub(crate) fn from_vote(vote: &Vote) -> peer::Vote {
    peer::Vote {
        term: vote.leader_id.term,
        node: vote.leader_id.node_id,
        is_committed: vote.committed,
    }
}

pub(crate) fn to_vote(vote: Option<peer::Vote>) -> Result<Vote, RaftError> {
    let vote = vote.ok_or_else(|| malformed("it has no vote"))?;
    Ok(Vote {
        leader_id: LeaderId {
            term: vote.term,
            node_id: vote.node,
        },
        committed: vote.is_committed,
    })
}

pub(crate) fn from_log_id(id: &LogId) -> peer::LogId {
    peer::LogId {
        term: id.leader_id.term,
        node: id.leader_id.node_id,
        index: id.index,
    }
}

pub(crate) fn to_log_id(id: peer::LogId) -> LogId {
    convert::log_id(stored_position(id))
}

fn stored_position(id: peer::LogId) -> log::Position {
    log::Position {
        term: id.term,
        node: NodeId(id.node),
        index: LogIndex(id.index),
    }
}

pub(super) fn from_append(
    request: AppendEntriesRequest<TypeConfig>,
) -> Result<peer::Append, RaftError> {
    let entries = request.entries.into_iter().map(|entry| {
        let stored = convert::stored_entry(entry)?;
        Ok(peer::LogEntry {
            id: Some(peer::LogId {
                term: stored.position.term,
                node: stored.position.node.0,
                index: stored.position.index.0,
            }),
            kind: u32::from(stored.tag),
            body: stored.payload,
        })
    });
    Ok(peer::Append {
        vote: Some(from_vote(&request.vote)),
        previous: request.prev_log_id.as_ref().map(from_log_id),
        committed: request.leader_commit.as_ref().map(from_log_id),
        entries: entries.collect::<Result<_, RaftError>>()?,
    })
}

/// Entries have to follow each other and the one named before them: openraft takes that for granted.
pub(super) fn to_append(
    append: peer::Append,
) -> Result<AppendEntriesRequest<TypeConfig>, RaftError> {
    let previous = append.previous.map(to_log_id);
    let mut next = previous.map_or(0, |id| id.index.saturating_add(1));
    let mut entries = Vec::with_capacity(append.entries.len());
    for entry in append.entries {
        let id = entry
            .id
            .ok_or_else(|| malformed("an entry has no position"))?;
        if id.index != next {
            return Err(malformed(format!(
                "entry {} stands where {next} belongs",
                id.index
            )));
        }
        next = next.saturating_add(1);
        let tag = u8::try_from(entry.kind).map_err(|_| malformed("an entry is of no kind"))?;
        entries.push(convert::entry(log::Entry {
            position: stored_position(id),
            tag,
            payload: entry.body,
        })?);
    }
    Ok(AppendEntriesRequest {
        vote: to_vote(append.vote)?,
        prev_log_id: previous,
        entries,
        leader_commit: append.committed.map(to_log_id),
    })
}

/// Bytes of an append in a message, roughly.
pub(super) fn append_bytes(append: &peer::Append) -> usize {
    let bodies = append
        .entries
        .iter()
        .map(|entry| entry.body.len() + ENTRY_OVERHEAD_BYTES);
    ENTRY_OVERHEAD_BYTES + bodies.sum::<usize>()
}

pub(super) fn from_outcome(outcome: StreamAppendResult<TypeConfig>) -> peer::append_reply::Outcome {
    use peer::append_reply::Outcome;
    match outcome {
        Ok(up_to) => Outcome::Matched(peer::Matched {
            up_to: up_to.as_ref().map(from_log_id),
        }),
        Err(StreamAppendError::Conflict(id)) => Outcome::Conflict(from_log_id(&id)),
        Err(StreamAppendError::HigherVote(vote)) => Outcome::HigherVote(from_vote(&vote)),
    }
}

/// What a session's receiver says.
pub(super) enum Answer {
    /// About the next append in line.
    Append(StreamAppendResult<TypeConfig>),
    /// All appends are answered, and there will be no more.
    Ended,
    /// Why the session broke.
    Broken(String),
}

pub(super) fn to_answer(outcome: Option<peer::append_reply::Outcome>) -> Answer {
    use peer::append_reply::Outcome;
    match outcome {
        Some(Outcome::Matched(matched)) => Answer::Append(Ok(matched.up_to.map(to_log_id))),
        Some(Outcome::Conflict(id)) => {
            Answer::Append(Err(StreamAppendError::Conflict(to_log_id(id))))
        }
        Some(Outcome::HigherVote(vote)) => match to_vote(Some(vote)) {
            Ok(vote) => Answer::Append(Err(StreamAppendError::HigherVote(vote))),
            Err(error) => Answer::Broken(error.to_string()),
        },
        Some(Outcome::Ended(peer::Ended {})) => Answer::Ended,
        Some(Outcome::Closed(reason)) => Answer::Broken(reason),
        None => Answer::Broken("the answer says nothing".to_owned()),
    }
}

pub(super) fn malformed(reason: impl ToString) -> RaftError {
    RaftError::Format {
        what: "message of a peer",
        reason: reason.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn id(index: u64) -> peer::LogId {
        peer::LogId {
            term: 2,
            node: 1,
            index,
        }
    }

    fn entry(index: u64, kind: u32, body: &'static [u8]) -> peer::LogEntry {
        peer::LogEntry {
            id: Some(id(index)),
            kind,
            body: Bytes::from_static(body),
        }
    }

    fn append(previous: Option<u64>, entries: Vec<peer::LogEntry>) -> peer::Append {
        peer::Append {
            vote: Some(peer::Vote {
                term: 2,
                node: 1,
                is_committed: true,
            }),
            previous: previous.map(id),
            committed: previous.map(id),
            entries,
        }
    }

    #[test]
    fn appends_survive_the_wire() {
        for sent in [
            append(None, vec![entry(0, 0, b"")]),
            append(Some(4), vec![entry(5, 1, b"command"), entry(6, 0, b"")]),
            append(Some(9), Vec::new()),
        ] {
            let read = to_append(sent.clone()).expect("well formed");
            assert_eq!(from_append(read).expect("just read"), sent);
        }
    }

    #[test]
    fn appends_that_no_leader_sends_are_refused() {
        let check = |sent: peer::Append, expect: &str| {
            let error = to_append(sent).expect_err(expect).to_string();
            assert!(error.contains(expect), "{error}");
        };
        check(append(Some(4), vec![entry(6, 1, b"")]), "6 stands where 5");
        check(append(None, vec![entry(0, 7, b"")]), "unknown tag 7");
        check(append(None, vec![entry(0, 999, b"")]), "of no kind");
        check(append(None, vec![entry(0, 2, b"junk")]), "membership");
        let mut nameless = append(None, vec![entry(0, 0, b"")]);
        nameless.vote = None;
        check(nameless, "no vote");
        let mut lost = entry(0, 0, b"");
        lost.id = None;
        check(append(None, vec![lost]), "no position");
    }
}

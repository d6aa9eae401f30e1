//! Between openraft's types, the log's and our own; and the bytes of memberships.

use bytes::Bytes;
use openraft::EntryPayload;
use ringtail_log as log;
use ringtail_proto::{LogIndex, NodeId};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::error::RaftError;
use crate::machine::{Body, LogPosition};
use crate::types::{
    Command, CommittedLeaderId, Entry, LeaderId, LogId, Membership, SnapshotMeta, StoredMembership,
    Vote,
};

/// Version byte of a stored membership.
const MEMBERSHIP_VERSION: u8 = 1;

/// What a log entry's payload is.
const TAG_BLANK: u8 = 0;
const TAG_COMMAND: u8 = 1;
const TAG_MEMBERSHIP: u8 = 2;

pub(crate) fn log_id(position: log::Position) -> LogId {
    let leader = CommittedLeaderId {
        term: position.term,
        node_id: position.node.0,
    };
    LogId {
        leader_id: leader,
        index: position.index.0,
    }
}

pub(crate) fn stored_position(log_id: &LogId) -> log::Position {
    log::Position {
        term: log_id.leader_id.term,
        node: NodeId(log_id.leader_id.node_id),
        index: LogIndex(log_id.index),
    }
}

pub(crate) fn position(log_id: &LogId) -> LogPosition {
    LogPosition {
        term: log_id.leader_id.term,
        node: NodeId(log_id.leader_id.node_id),
        index: LogIndex(log_id.index),
    }
}

pub(crate) fn position_log_id(position: LogPosition) -> LogId {
    log_id(log::Position {
        term: position.term,
        node: position.node,
        index: position.index,
    })
}

pub(crate) fn stored_vote(vote: &Vote) -> log::Vote {
    log::Vote {
        term: vote.leader_id.term,
        node: NodeId(vote.leader_id.node_id),
        is_committed: vote.committed,
    }
}

pub(crate) fn vote(stored: log::Vote) -> Vote {
    Vote {
        leader_id: LeaderId {
            term: stored.term,
            node_id: stored.node.0,
        },
        committed: stored.is_committed,
    }
}

pub(crate) fn stored_entry(entry: Entry) -> Result<log::Entry, RaftError> {
    let (tag, payload) = match entry.payload {
        EntryPayload::Blank => (TAG_BLANK, Bytes::new()),
        EntryPayload::Normal(Command(bytes)) => (TAG_COMMAND, bytes),
        EntryPayload::Membership(membership) => (TAG_MEMBERSHIP, encode(&membership)?),
    };
    Ok(log::Entry {
        position: stored_position(&entry.log_id),
        tag,
        payload,
    })
}

pub(crate) fn entry(stored: log::Entry) -> Result<Entry, RaftError> {
    let payload = match stored.tag {
        TAG_BLANK => EntryPayload::Blank,
        TAG_COMMAND => EntryPayload::Normal(Command(stored.payload)),
        TAG_MEMBERSHIP => EntryPayload::Membership(decode::<Membership>(&stored.payload)?),
        tag => {
            return Err(RaftError::Format {
                what: "log entry",
                reason: format!("unknown tag {tag}"),
            });
        }
    };
    Ok(Entry {
        log_id: log_id(stored.position),
        payload,
    })
}

/// What a machine gets of an entry, and the membership if it is one.
pub(crate) fn body(entry: Entry) -> Result<(Body, Option<StoredMembership>), RaftError> {
    Ok(match entry.payload {
        EntryPayload::Blank => (Body::Blank, None),
        EntryPayload::Normal(Command(bytes)) => (Body::Command(bytes), None),
        EntryPayload::Membership(membership) => {
            let stored = StoredMembership::new(Some(entry.log_id), membership);
            (Body::Membership(encode(&stored)?), Some(stored))
        }
    })
}

/// Reads what [`body`] gave a machine to keep.
pub(crate) fn membership(bytes: &[u8]) -> Result<StoredMembership, RaftError> {
    decode(bytes)
}

/// The bytes by which a receiver knows a snapshot.
pub(crate) fn snapshot_meta_bytes(meta: &SnapshotMeta) -> Result<Bytes, RaftError> {
    encode(&(&meta.last_log_id, &meta.last_membership))
}

/// Reads what [`snapshot_meta_bytes`] wrote.
pub(crate) fn snapshot_meta(bytes: &[u8]) -> Result<SnapshotMeta, RaftError> {
    let (last_log_id, last_membership) = decode(bytes)?;
    Ok(SnapshotMeta {
        last_log_id,
        last_membership,
    })
}

fn encode(value: &impl Serialize) -> Result<Bytes, RaftError> {
    let bytes = postcard::to_extend(value, vec![MEMBERSHIP_VERSION]).map_err(unreadable)?;
    Ok(Bytes::from(bytes))
}

fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, RaftError> {
    match bytes.split_first() {
        Some((&MEMBERSHIP_VERSION, fields)) => postcard::from_bytes(fields).map_err(unreadable),
        Some((version, _)) => Err(unreadable(format!("unknown version {version}"))),
        None => Err(unreadable("it is empty")),
    }
}

fn unreadable(reason: impl ToString) -> RaftError {
    RaftError::Format {
        what: "membership",
        reason: reason.to_string(),
    }
}

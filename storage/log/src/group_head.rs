//! What a log says about a group apart from its entries, and the record that repeats it in each new segment.

use bytes::Bytes;
use ringtail_proto::{GroupId, LogIndex, NodeId};

use crate::position::{Position, Vote};
use crate::record::{Record, RecordKind};

/// A group's state in disk order: the writer's own view, never what is only in memory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct GroupHead {
    pub(crate) vote: Option<Vote>,
    pub(crate) purged: Option<Position>,
    pub(crate) committed: Option<Position>,
    /// Index after the last entry, or after the purge point; `None` for a group that never had either.
    pub(crate) next: Option<LogIndex>,
}

const HAS_VOTE: u8 = 1;
const VOTE_IS_COMMITTED: u8 = 2;
const HAS_PURGED: u8 = 4;
const HAS_COMMITTED: u8 = 8;
const HAS_NEXT: u8 = 16;

impl GroupHead {
    /// Follows one record of the group.
    pub(crate) fn follow(&mut self, record: &Record) {
        match record.kind {
            RecordKind::Entry => self.next = Some(LogIndex(record.position.index.0 + 1)),
            RecordKind::Truncate => {
                let after_purged = self.purged.map(|purged| LogIndex(purged.index.0 + 1));
                self.next = self.next.min(Some(record.position.index)).max(after_purged);
            }
            RecordKind::Purge => {
                self.purged = Some(record.position);
                let after = Some(LogIndex(record.position.index.0 + 1));
                self.next = self.next.max(after);
            }
            RecordKind::Vote => self.vote = Some(record.as_vote()),
            RecordKind::Committed => self.committed = Some(record.position),
            RecordKind::GroupHead | RecordKind::Seal => {}
        }
    }

    pub(crate) fn to_record(self, group: GroupId) -> Record {
        let mut flags = 0;
        let mut fields = Vec::with_capacity(80);
        if let Some(vote) = self.vote {
            flags |= HAS_VOTE;
            if vote.is_committed {
                flags |= VOTE_IS_COMMITTED;
            }
            fields.extend_from_slice(&vote.term.to_le_bytes());
            fields.extend_from_slice(&vote.node.0.to_le_bytes());
        }
        for (flag, position) in [(HAS_PURGED, self.purged), (HAS_COMMITTED, self.committed)] {
            if let Some(position) = position {
                flags |= flag;
                fields.extend_from_slice(&position.term.to_le_bytes());
                fields.extend_from_slice(&position.node.0.to_le_bytes());
                fields.extend_from_slice(&position.index.0.to_le_bytes());
            }
        }
        if let Some(next) = self.next {
            flags |= HAS_NEXT;
            fields.extend_from_slice(&next.0.to_le_bytes());
        }
        Record {
            tag: flags,
            payload: Bytes::from(fields),
            ..Record::positioned(RecordKind::GroupHead, group, ZERO)
        }
    }

    /// Reads a head record; `None` when its fields are not all there.
    pub(crate) fn from_record(record: &Record) -> Option<Self> {
        let flags = record.tag;
        let mut fields = record.payload.as_ref();
        let mut head = Self::default();
        if flags & HAS_VOTE != 0 {
            head.vote = Some(Vote {
                term: take_u64(&mut fields)?,
                node: NodeId(take_u64(&mut fields)?),
                is_committed: flags & VOTE_IS_COMMITTED != 0,
            });
        }
        if flags & HAS_PURGED != 0 {
            head.purged = Some(take_position(&mut fields)?);
        }
        if flags & HAS_COMMITTED != 0 {
            head.committed = Some(take_position(&mut fields)?);
        }
        if flags & HAS_NEXT != 0 {
            head.next = Some(LogIndex(take_u64(&mut fields)?));
        }
        fields.is_empty().then_some(head)
    }
}

const ZERO: Position = Position {
    term: 0,
    node: NodeId(0),
    index: LogIndex(0),
};

fn take_position(fields: &mut &[u8]) -> Option<Position> {
    Some(Position {
        term: take_u64(fields)?,
        node: NodeId(take_u64(fields)?),
        index: LogIndex(take_u64(fields)?),
    })
}

fn take_u64(fields: &mut &[u8]) -> Option<u64> {
    let (number, rest) = fields.split_first_chunk::<8>()?;
    *fields = rest;
    Some(u64::from_le_bytes(*number))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn head_survives_its_record_whatever_is_set() {
        let position = |index| Position {
            term: 3,
            node: NodeId(9),
            index: LogIndex(index),
        };
        let vote = Vote {
            term: 7,
            node: NodeId(2),
            is_committed: true,
        };
        for set in 0..16_u8 {
            let head = GroupHead {
                vote: (set & 1 != 0).then_some(vote),
                purged: (set & 2 != 0).then(|| position(4)),
                committed: (set & 4 != 0).then(|| position(u64::MAX)),
                next: (set & 8 != 0).then_some(LogIndex(12)),
            };
            let record = head.to_record(GroupId(5));
            assert_eq!(GroupHead::from_record(&record), Some(head));
        }
    }
}

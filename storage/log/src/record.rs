//! The bytes of one record.
//!
//! ```text
//!  0 crc32c of everything after it   16 synced_up_to    28 term
//!  4 marker 0x5254                   20 payload length  36 node
//!  6 kind    7 tag                   24 group           44 index
//!  8 segment 12 offset                                  52 payload
//! ```
//! All numbers are little-endian. `segment` and `offset` say where the record itself stands, so that a stray copy is
//! never taken for a record. `synced_up_to` is the length of the segment that was durable when the record was
//! written: any later record proves that a bad one below that mark was once good, which is damage and not a torn tail.

use bytes::Bytes;
use ringtail_proto::{GroupId, LogIndex, NodeId};

use crate::position::{Entry, Position, Vote};
use crate::segment::SegmentId;

/// Bytes of a record before its payload.
pub(crate) const RECORD_HEADER_BYTES: usize = 52;

const MARKER: [u8; 2] = 0x5254_u16.to_le_bytes();
/// Offset of the marker within a record.
const MARKER_AT: usize = 4;

/// What a record says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum RecordKind {
    /// An entry of a group.
    Entry = 1,
    /// Entries at and above `index` are gone.
    Truncate = 2,
    /// Entries up to the position are gone, because they are no longer needed.
    Purge = 3,
    /// This node's vote; the tag is 1 when it is committed.
    Vote = 4,
    /// The group has committed up to the position.
    Committed = 5,
    /// What earlier segments said about a group, repeated at the head of each segment.
    GroupHead = 6,
    /// Nothing follows in this segment, and everything before it was durable.
    Seal = 7,
}

impl RecordKind {
    fn from_byte(byte: u8) -> Option<Self> {
        Some(match byte {
            1 => Self::Entry,
            2 => Self::Truncate,
            3 => Self::Purge,
            4 => Self::Vote,
            5 => Self::Committed,
            6 => Self::GroupHead,
            7 => Self::Seal,
            _ => return None,
        })
    }
}

/// One record, before it has a place in a segment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Record {
    pub(crate) kind: RecordKind,
    pub(crate) tag: u8,
    pub(crate) group: GroupId,
    pub(crate) position: Position,
    pub(crate) payload: Bytes,
}

/// Where a record stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) segment: SegmentId,
    pub(crate) offset: u32,
    pub(crate) synced_up_to: u32,
}

impl Record {
    pub(crate) fn entry(group: GroupId, entry: Entry) -> Self {
        Self {
            kind: RecordKind::Entry,
            tag: entry.tag,
            group,
            position: entry.position,
            payload: entry.payload,
        }
    }

    pub(crate) fn positioned(kind: RecordKind, group: GroupId, position: Position) -> Self {
        Self {
            kind,
            tag: 0,
            group,
            position,
            payload: Bytes::new(),
        }
    }

    pub(crate) fn truncate(group: GroupId, first_removed: LogIndex) -> Self {
        let position = Position {
            term: 0,
            node: NodeId(0),
            index: first_removed,
        };
        Self::positioned(RecordKind::Truncate, group, position)
    }

    pub(crate) fn vote(group: GroupId, vote: Vote) -> Self {
        let position = Position {
            term: vote.term,
            node: vote.node,
            index: LogIndex(0),
        };
        Self {
            tag: u8::from(vote.is_committed),
            ..Self::positioned(RecordKind::Vote, group, position)
        }
    }

    pub(crate) fn seal() -> Self {
        let position = Position {
            term: 0,
            node: NodeId(0),
            index: LogIndex(0),
        };
        Self::positioned(RecordKind::Seal, GroupId(0), position)
    }

    /// The vote in a vote record.
    pub(crate) fn as_vote(&self) -> Vote {
        Vote {
            term: self.position.term,
            node: self.position.node,
            is_committed: self.tag != 0,
        }
    }

    /// Bytes on disk.
    pub(crate) fn len(&self) -> usize {
        RECORD_HEADER_BYTES + self.payload.len()
    }

    /// Appends the header to `out`; the payload must follow it on disk.
    pub(crate) fn encode_header(&self, place: Place, out: &mut Vec<u8>) {
        let mut header = [0_u8; RECORD_HEADER_BYTES];
        let payload_bytes =
            u32::try_from(self.payload.len()).expect("append refuses entries over 1 GiB");
        put(&mut header, 4, MARKER);
        put(&mut header, 6, [self.kind as u8, self.tag]);
        put(&mut header, 8, place.segment.0.to_le_bytes());
        put(&mut header, 12, place.offset.to_le_bytes());
        put(&mut header, 16, place.synced_up_to.to_le_bytes());
        put(&mut header, 20, payload_bytes.to_le_bytes());
        put(&mut header, 24, self.group.0.to_le_bytes());
        put(&mut header, 28, self.position.term.to_le_bytes());
        put(&mut header, 36, self.position.node.0.to_le_bytes());
        put(&mut header, 44, self.position.index.0.to_le_bytes());
        let (_, covered) = header.split_at(4);
        let crc = crc32c::crc32c_append(crc32c::crc32c(covered), &self.payload);
        put(&mut header, 0, crc.to_le_bytes());
        out.extend_from_slice(&header);
    }
}

fn put<const N: usize>(header: &mut [u8; RECORD_HEADER_BYTES], at: usize, value: [u8; N]) {
    header
        .get_mut(at..at + N)
        .expect("fields lie within the header")
        .copy_from_slice(&value);
}

fn take<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..at + N)?.try_into().ok()
}

/// Reads the record that should stand at `offset` of the segment's bytes.
pub(crate) fn decode(
    segment_bytes: &Bytes,
    segment: SegmentId,
    offset: usize,
) -> Result<(Record, Place), &'static str> {
    let bytes = segment_bytes.slice(offset.min(segment_bytes.len())..);
    decode_alone(&bytes, segment, offset)
}

/// Reads the record whose bytes these are; it should stand at `offset` of its segment.
pub(crate) fn decode_alone(
    bytes: &Bytes,
    segment: SegmentId,
    offset: usize,
) -> Result<(Record, Place), &'static str> {
    let short = "record is cut short";
    let crc = u32::from_le_bytes(take(bytes, 0).ok_or(short)?);
    let marker: [u8; 2] = take(bytes, MARKER_AT).ok_or(short)?;
    let [kind, tag] = take(bytes, 6).ok_or(short)?;
    let place = Place {
        segment: SegmentId(u32::from_le_bytes(take(bytes, 8).ok_or(short)?)),
        offset: u32::from_le_bytes(take(bytes, 12).ok_or(short)?),
        synced_up_to: u32::from_le_bytes(take(bytes, 16).ok_or(short)?),
    };
    let payload_bytes = u32::from_le_bytes(take(bytes, 20).ok_or(short)?) as usize;
    let group = GroupId(u32::from_le_bytes(take(bytes, 24).ok_or(short)?));
    let position = Position {
        term: u64::from_le_bytes(take(bytes, 28).ok_or(short)?),
        node: NodeId(u64::from_le_bytes(take(bytes, 36).ok_or(short)?)),
        index: LogIndex(u64::from_le_bytes(take(bytes, 44).ok_or(short)?)),
    };
    if marker != MARKER {
        return Err("no record starts here");
    }
    let covered = bytes
        .get(4..RECORD_HEADER_BYTES + payload_bytes)
        .ok_or(short)?;
    if crc32c::crc32c(covered) != crc {
        return Err("record fails its checksum");
    }
    if place.segment != segment || place.offset as usize != offset {
        return Err("record belongs elsewhere");
    }
    let kind = RecordKind::from_byte(kind).ok_or("record has an unknown kind")?;
    let record = Record {
        kind,
        tag,
        group,
        position,
        payload: bytes.slice(RECORD_HEADER_BYTES..RECORD_HEADER_BYTES + payload_bytes),
    };
    Ok((record, place))
}

/// The next offset at or after `from` where a record might start.
pub(crate) fn next_marker(segment_bytes: &[u8], from: usize) -> Option<usize> {
    let rest = segment_bytes.get(from + MARKER_AT..)?;
    let [low, high] = MARKER;
    let mut skipped = 0;
    loop {
        let tail = rest.get(skipped..)?;
        let found = tail.iter().position(|byte| *byte == low)?;
        if tail.get(found + 1) == Some(&high) {
            return Some(from + skipped + found);
        }
        skipped += found + 1;
    }
}

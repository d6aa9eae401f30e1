//! An encoded entry on its way, which may take several attempts.

use bytes::{BufMut as _, Bytes, BytesMut};
use ringtail_proto::{
    GroupId, UnixMillis,
    stored::{BatchWriter, PartitionEntry, partition_entry::Body},
};
use tokio::time::Instant;

use crate::{
    RouteError,
    draft::Draft,
    waiting::{Waiter, Waiting},
};

/// The key of `PartitionEntry.stamp_ms` and the longest number behind it.
const STAMP_KEY: u8 = 1 << 3;
const STAMP_BYTES_MAX: usize = 11;

/// An encoded entry and whoever waits for it.
pub(crate) struct Entry {
    pub(crate) bytes: Unstamped,
    pub(crate) events: usize,
    pub(crate) kind: EntryKind,
    /// When its events came.
    pub(crate) received: UnixMillis,
    pub(crate) waiting: Waiting,
}

/// What an entry holds and where it comes from, which decide what becomes of it when it finds no leader.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum EntryKind {
    /// Events of this node's clients: tried again, spooled at the deadline.
    Live,
    /// Events with import marks: tried again, never spooled. The import itself resumes, and marks out of order would
    /// be refused; so one such entry goes at a time.
    Import,
    /// A command: tried again.
    Command,
    /// From another node: tried once, and here only.
    Peer,
    /// From the spool, which tries again by itself.
    Spool,
}

impl EntryKind {
    /// True when the entry may go to another node; what came from one may not.
    pub(crate) const fn may_travel(self) -> bool {
        !matches!(self, Self::Peer)
    }

    pub(crate) const fn is_retried(self) -> bool {
        matches!(self, Self::Live | Self::Import | Self::Command)
    }
}

/// An entry that waits for its attempts, with what the lane knows of it.
pub(crate) struct Journey {
    /// Position in the lane's order.
    pub(crate) number: u64,
    /// Without a quorum until then, it goes no further.
    pub(crate) deadline: Instant,
    /// An attempt ended in doubt.
    pub(crate) may_be_written: bool,
    /// What the last attempt ended with.
    pub(crate) failure: Option<RouteError>,
    pub(crate) entry: Entry,
}

/// A log entry without its stamp, which whoever leads appends.
///
/// Fields of a message come in any order, and encodings of one message joined together are the encoding of it: so an
/// entry without a stamp needs nothing but the field behind it.
#[derive(Clone, Debug)]
pub(crate) struct Unstamped(Bytes);

impl Unstamped {
    /// Takes an entry that carries no stamp; see [`PartitionEntry::to_log`].
    pub(crate) const fn new(entry: Bytes) -> Self {
        Self(entry)
    }

    pub(crate) fn bytes(&self) -> &Bytes {
        &self.0
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// The entry under this stamp. Copies only when somebody else holds the bytes, so not at the first attempt.
    pub(crate) fn stamped(&mut self, stamp: UnixMillis) -> Bytes {
        let plain = std::mem::take(&mut self.0);
        let len = plain.len();
        let mut bytes = plain.try_into_mut().unwrap_or_else(|shared| {
            let mut copy = BytesMut::with_capacity(len + STAMP_BYTES_MAX);
            copy.put_slice(&shared);
            copy
        });
        bytes.put_u8(STAMP_KEY);
        put_varint(stamp.0 as u64, &mut bytes);
        let stamped = bytes.freeze();
        self.0 = stamped.slice(..len);
        stamped
    }
}

fn put_varint(mut number: u64, bytes: &mut BytesMut) {
    while number >= 0x80 {
        bytes.put_u8(number as u8 | 0x80);
        number >>= 7;
    }
    bytes.put_u8(number as u8);
}

impl Draft {
    /// Encodes the entry, without a stamp.
    pub(crate) fn encode(self, group: GroupId, received: UnixMillis) -> Entry {
        match self {
            Self::Command {
                command,
                mut ticket,
            } => {
                ticket.mark_proposed();
                let entry = PartitionEntry {
                    stamp_ms: 0,
                    body: Some(Body::Site(command)),
                };
                Entry {
                    bytes: Unstamped::new(entry.to_log()),
                    events: 0,
                    kind: EntryKind::Command,
                    received,
                    waiting: Waiting::Whole(ticket),
                }
            }
            Self::Encoded { entry, mut ticket } => {
                ticket.mark_proposed();
                Entry {
                    bytes: entry.bytes,
                    events: entry.events,
                    kind: entry.kind,
                    received,
                    waiting: Waiting::Whole(ticket),
                }
            }
            Self::Events(draft) => {
                let mut writer = BatchWriter::new();
                let mut offsets = Vec::with_capacity(draft.slices.len());
                for slice in &draft.slices {
                    offsets.push(writer.events());
                    writer.add_all(slice.site, &slice.pieces, slice.import.clone());
                }
                let bytes = Unstamped::new(writer.into_log(UnixMillis(0)));
                let kind = match draft.is_import {
                    true => EntryKind::Import,
                    false => EntryKind::Live,
                };
                // The writer knows attribute groups by their address: only now may the events go.
                drop(draft.slices);
                let parts = draft.parts.into_iter().map(|part| {
                    let mut ticket = part.ticket;
                    ticket.mark_proposed();
                    let offset = offsets.get(part.slice).expect("each part lies in a slice");
                    Waiter {
                        first: offset + part.first,
                        count: part.count,
                        ticket,
                    }
                });
                Entry {
                    bytes,
                    events: draft.events,
                    kind,
                    received,
                    waiting: Waiting::Events {
                        group,
                        waiters: parts.collect(),
                        events: draft.events,
                    },
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use ringtail_proto::stored::{EventBatch, SiteEvents};

    use super::*;

    fn entry(stamp_ms: i64) -> PartitionEntry {
        let sites = (0..3).map(|site| SiteEvents {
            site,
            ..SiteEvents::default()
        });
        let batch = EventBatch {
            sites: sites.collect(),
            ..EventBatch::default()
        };
        PartitionEntry {
            stamp_ms,
            body: Some(Body::Events(batch)),
        }
    }

    #[test]
    fn an_appended_stamp_is_the_entrys_stamp() {
        for stamp in [0, 1, 127, 128, 1_700_000_000_000, i64::MAX, -1, i64::MIN] {
            let mut unstamped = Unstamped::new(entry(0).to_log());
            let stamped = unstamped.stamped(UnixMillis(stamp));
            assert_eq!(PartitionEntry::from_log(stamped), Ok(entry(stamp)));
            let again = unstamped.stamped(UnixMillis(stamp.wrapping_add(1)));
            assert_eq!(
                PartitionEntry::from_log(again),
                Ok(entry(stamp.wrapping_add(1)))
            );
            assert_eq!(
                unstamped.bytes(),
                &entry(0).to_log(),
                "the entry itself stays as it was"
            );
        }
    }

    #[test]
    fn the_last_stamp_wins() {
        let mut forged = Unstamped::new(entry(5).to_log());
        let stamped = forged.stamped(UnixMillis(9));
        assert_eq!(PartitionEntry::from_log(stamped), Ok(entry(9)));
    }
}

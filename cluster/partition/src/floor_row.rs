//! The row in which a group's floor rests.

use bytes::{Buf, BufMut, Bytes, BytesMut};
use ringtail_checkpoint::GroupKey;
use ringtail_proto::{GroupId, LogIndex, NodeId, UnixMillis};
use ringtail_raft::{Floor, LogPosition};

use crate::PartitionError;

const VERSION: u8 = 1;

/// What is durable of a group, as its row tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct FloorRow {
    /// Every site's rows hold all entries up to and including this one.
    pub(crate) position: LogPosition,
    /// The stamp that later stamps may not fall behind.
    pub(crate) stamp: UnixMillis,
    /// The group's membership at the position, as Raft gave it.
    pub(crate) membership: Option<Bytes>,
}

impl FloorRow {
    pub(crate) const KEY: GroupKey = GroupKey::named("floor");

    /// Version, term, node, index, stamp (each big-endian), then the membership: a byte that says whether it is there,
    /// and its bytes.
    pub(crate) fn encode(&self) -> Bytes {
        let mut bytes = BytesMut::with_capacity(64);
        bytes.put_u8(VERSION);
        bytes.put_u64(self.position.term);
        bytes.put_u64(self.position.node.0);
        bytes.put_u64(self.position.index.0);
        bytes.put_i64(self.stamp.0);
        bytes.put_u8(u8::from(self.membership.is_some()));
        if let Some(membership) = &self.membership {
            bytes.put_slice(membership);
        }
        bytes.freeze()
    }

    pub(crate) fn decode(group: GroupId, bytes: Bytes) -> Result<Self, PartitionError> {
        let whole = bytes.clone();
        match take(bytes) {
            Ok(row) => Ok(row),
            Err(message) => Err(PartitionError::FloorRow {
                group,
                message: format!("{message} in {whole:?}"),
            }),
        }
    }
}

impl From<FloorRow> for Floor {
    fn from(row: FloorRow) -> Self {
        Self {
            position: Some(row.position),
            membership: row.membership,
        }
    }
}

fn take(mut bytes: Bytes) -> Result<FloorRow, String> {
    let cut = |_| "it is cut short".to_owned();
    let version = bytes.try_get_u8().map_err(cut)?;
    if version != VERSION {
        return Err(format!(
            "version {version} is unknown, this binary knows {VERSION}"
        ));
    }
    let term = bytes.try_get_u64().map_err(cut)?;
    let node = NodeId(bytes.try_get_u64().map_err(cut)?);
    let index = LogIndex(bytes.try_get_u64().map_err(cut)?);
    let stamp = UnixMillis(bytes.try_get_i64().map_err(cut)?);
    let membership = match bytes.try_get_u8().map_err(cut)? {
        0 if bytes.is_empty() => None,
        1 => Some(bytes),
        other => return Err(format!("membership mark {other}")),
    };
    Ok(FloorRow {
        position: LogPosition { term, node, index },
        stamp,
        membership,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(membership: Option<&'static [u8]>) -> FloorRow {
        FloorRow {
            position: LogPosition {
                term: 3,
                node: NodeId(1),
                index: LogIndex(0x0102),
            },
            stamp: UnixMillis(-2),
            membership: membership.map(Bytes::from_static),
        }
    }

    #[test]
    fn the_encoding_is_the_golden_one() {
        let golden = b"\x01\0\0\0\0\0\0\0\x03\0\0\0\0\0\0\0\x01\0\0\0\0\0\0\x01\x02\xff\xff\xff\xff\xff\xff\xff\xfe";
        assert_eq!(row(None).encode(), [golden, &b"\0"[..]].concat());
        assert_eq!(row(Some(b"m")).encode(), [golden, &b"\x01m"[..]].concat());
    }

    #[test]
    fn rows_survive_their_bytes() {
        for row in [row(None), row(Some(b"")), row(Some(b"members"))] {
            let decoded = FloorRow::decode(GroupId(1), row.encode()).expect("just encoded");
            assert_eq!(decoded, row);
        }
    }

    #[test]
    fn newer_and_broken_rows_are_refused() {
        let good = row(Some(b"m")).encode();
        let check = |bytes: &[u8], expect: &str| {
            let bytes = Bytes::copy_from_slice(bytes);
            let error = FloorRow::decode(GroupId(1), bytes).expect_err("broken");
            assert!(error.to_string().contains(expect), "{error}");
        };
        check(b"", "cut short");
        check(good.get(..20).expect("longer"), "cut short");
        check(b"\x02", "version 2");
        let mut odd = good.to_vec();
        odd.splice(33..34, [7]);
        check(&odd, "membership mark 7");
    }
}

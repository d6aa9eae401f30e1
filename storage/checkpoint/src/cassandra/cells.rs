//! A row's value as the chunks that rest in the table, and back.

use bytes::{Buf, BufMut, Bytes, BytesMut};
use xxhash_rust::xxh3::xxh3_64;

use super::MirrorError;

/// Servers keep a mutation in memory several times over; ScyllaDB wants a batch to stay well under 1 MiB.
pub(super) const CHUNK_BYTES_MAX: usize = 256 << 10;

/// The version byte of the first chunk.
const FORMAT: u8 = 1;
const REMOVED: u8 = 0;
const PRESENT: u8 = 1;
/// Format, kind, number of chunks, hash of the whole value.
const HEAD_BYTES: usize = 1 + 1 + 4 + 8;

/// One version of a row as it was read: the first chunk with its head taken off.
#[derive(Debug)]
pub(super) struct First {
    /// None when the row was removed at this version.
    pub(super) value: Option<FirstChunk>,
}

/// The beginning of a value.
#[derive(Debug)]
pub(super) struct FirstChunk {
    chunks: u32,
    hash: u64,
    data: Bytes,
}

/// The chunks of a row's new value, or of its removal. The first one tells how many there are and what they hash to, so
/// that a value of which a part is missing, or is another writer's, is noticed.
pub(super) fn split(value: Option<&Bytes>) -> Vec<Bytes> {
    let Some(value) = value else {
        return vec![head(REMOVED, 1, 0, &[])];
    };
    let first = value.slice(..value.len().min(CHUNK_BYTES_MAX));
    let rest = value.slice(first.len()..);
    let chunks = 1 + rest.len().div_ceil(CHUNK_BYTES_MAX);
    let mut split = Vec::with_capacity(chunks);
    split.push(head(PRESENT, chunks as u32, xxh3_64(value), &first));
    let mut from = 0;
    while from < rest.len() {
        let to = rest.len().min(from + CHUNK_BYTES_MAX);
        split.push(rest.slice(from..to));
        from = to;
    }
    split
}

fn head(kind: u8, chunks: u32, hash: u64, data: &[u8]) -> Bytes {
    let mut bytes = BytesMut::with_capacity(HEAD_BYTES + data.len());
    bytes.put_u8(FORMAT);
    bytes.put_u8(kind);
    bytes.put_u32(chunks);
    bytes.put_u64(hash);
    bytes.put_slice(data);
    bytes.freeze()
}

/// Reads the first chunk.
pub(super) fn read_first(mut chunk: Bytes) -> Result<First, String> {
    if chunk.len() < HEAD_BYTES {
        return Err(format!("the first chunk has {} bytes only", chunk.len()));
    }
    match chunk.get_u8() {
        FORMAT => {}
        format => return Err(format!("format {format} is not known")),
    }
    let kind = chunk.get_u8();
    let chunks = chunk.get_u32();
    let hash = chunk.get_u64();
    match kind {
        REMOVED => Ok(First { value: None }),
        PRESENT if chunks > 0 => Ok(First {
            value: Some(FirstChunk {
                chunks,
                hash,
                data: chunk,
            }),
        }),
        kind => Err(format!("kind {kind} with {chunks} chunks is not known")),
    }
}

impl FirstChunk {
    /// True when there are more chunks.
    pub(super) const fn is_part(&self) -> bool {
        self.chunks > 1
    }

    /// The whole value, of the chunks after the first with their numbers, in order.
    pub(super) fn join(self, rest: &[(i32, Bytes)]) -> Result<Bytes, String> {
        let wanted = 1..self.chunks as i32;
        if !rest.iter().map(|(number, _)| *number).eq(wanted) {
            return Err(format!(
                "{} chunks were written, {} are there or not those",
                self.chunks,
                rest.len() + 1
            ));
        }
        let value = if rest.is_empty() {
            self.data
        } else {
            let parts = || std::iter::once(&self.data).chain(rest.iter().map(|(_, data)| data));
            let mut whole = BytesMut::with_capacity(parts().map(Bytes::len).sum());
            parts().for_each(|part| whole.put_slice(part));
            whole.freeze()
        };
        match xxh3_64(&value) == self.hash {
            true => Ok(value),
            false => Err("the value is not what was written: its hash differs".to_owned()),
        }
    }
}

/// The error for a row that is not whole.
pub(super) fn damaged(key: &[u8], version: i64, message: String) -> MirrorError {
    let hex = key.iter().map(|byte| format!("{byte:02x}")).collect();
    MirrorError::Damaged {
        key: hex,
        version,
        message,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn join(chunks: &[Bytes]) -> Result<Option<Bytes>, String> {
        let first = read_first(chunks[0].clone())?;
        let rest: Vec<_> = (1..).zip(chunks[1..].iter().cloned()).collect();
        first.value.map(|first| first.join(&rest)).transpose()
    }

    #[test]
    fn values_of_all_sizes_come_back() {
        for size in [
            0,
            1,
            CHUNK_BYTES_MAX,
            CHUNK_BYTES_MAX + 1,
            3 * CHUNK_BYTES_MAX,
        ] {
            let value = Bytes::from((0..size).map(|at| (at % 251) as u8).collect::<Vec<_>>());
            let chunks = split(Some(&value));
            assert_eq!(chunks.len(), size.div_ceil(CHUNK_BYTES_MAX).max(1));
            assert!(
                chunks
                    .iter()
                    .all(|chunk| chunk.len() <= CHUNK_BYTES_MAX + HEAD_BYTES)
            );
            assert!(join(&chunks) == Ok(Some(value)), "{size} bytes");
        }
        assert_eq!(join(&split(None)), Ok(None));
    }

    #[test]
    fn a_missing_or_foreign_chunk_is_noticed() {
        let value = Bytes::from(vec![7; 3 * CHUNK_BYTES_MAX]);
        let whole = split(Some(&value));
        assert!(join(&whole[..2]).is_err());
        assert!(
            join(&[
                whole[0].clone(),
                whole[2].clone(),
                whole[2].clone(),
                whole[2].clone()
            ])
            .is_err()
        );
        let mut foreign = whole.clone();
        foreign[1] = Bytes::from(vec![8; CHUNK_BYTES_MAX]);
        assert!(join(&foreign).is_err());
        let first = read_first(whole[0].clone()).unwrap().value.unwrap();
        assert!(first.is_part());
        assert!(
            first
                .join(&[(1, whole[1].clone()), (3, whole[2].clone())])
                .is_err()
        );
        assert!(read_first(whole[0].slice(..HEAD_BYTES - 1)).is_err());
        assert!(read_first(whole[1].clone()).is_err());
    }
}

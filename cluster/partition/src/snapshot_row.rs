//! Rows in a snapshot's parts.
//!
//! A row travels as it rests: its key and its value. What a value has beyond one part follows in pieces, each under the
//! row's key, a zero byte and the piece's number in four bytes, big-endian, from 1 on. That sorts behind the row and
//! before the next one: no key of a site's row begins with another one, and no name of a group's row holds a zero byte.

use bytes::{BufMut, Bytes, BytesMut};

const MARK: u8 = 0;

/// The key of a piece of a row's value.
pub(crate) fn piece_key(key: &[u8], piece: u32) -> Bytes {
    let mut bytes = BytesMut::with_capacity(key.len() + 5);
    bytes.put_slice(key);
    bytes.put_u8(MARK);
    bytes.put_u32(piece);
    bytes.freeze()
}

/// The number of the piece that `key` names, if it is one of the row `of`.
pub(crate) fn piece_of(key: &[u8], of: &[u8]) -> Option<u32> {
    let [MARK, number @ ..] = key.strip_prefix(of)? else {
        return None;
    };
    number.try_into().ok().map(u32::from_be_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_name_their_row_and_sort_behind_it() {
        let row = &b"\x02row"[..];
        let pieces = [piece_key(row, 1), piece_key(row, 2), piece_key(row, 256)];
        assert!(*row < pieces[0][..] && pieces.is_sorted());
        assert!(pieces[2] < b"\x02row\x01"[..] && pieces[2] < b"\x02rox"[..]);
        let numbers = pieces.map(|piece| piece_of(&piece, row));
        assert_eq!(numbers, [Some(1), Some(2), Some(256)]);
        for other in [
            &b"\x02row"[..],
            b"\x02row\0",
            b"\x02row\0\0\0\x01",
            b"\x02rox\0\0\0\0\x01",
        ] {
            assert_eq!(piece_of(other, row), None);
        }
    }
}

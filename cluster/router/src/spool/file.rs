//! One spooled entry as a file. `tests/golden/spool_v1.bin` pins the format.
//!
//! Version 1, numbers little-endian: magic `RTSP`, version (u8), three zero bytes, group (u32), events (u32), receipt
//! (i64, milliseconds since the Unix epoch), length of the entry (u32), CRC-32C of everything but itself (u32), entry.

use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};
use ringtail_proto::{GroupId, UnixMillis};

/// The version that this binary writes.
const VERSION: u8 = 1;
const MAGIC: &[u8; 4] = b"RTSP";
pub(crate) const HEADER_BYTES: usize = 32;
const CHECKED_HEADER_BYTES: usize = HEADER_BYTES - 4;

/// Events on their way to a group, without a stamp.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SpooledEntry {
    pub(crate) group: GroupId,
    pub(crate) received: UnixMillis,
    pub(crate) events: usize,
    pub(crate) bytes: Bytes,
}

/// What a file's header says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) group: GroupId,
    pub(crate) events: usize,
    pub(crate) received: UnixMillis,
    pub(crate) entry_bytes: usize,
    checksum: u32,
}

/// A file that cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum FileError {
    #[error("{bytes} bytes are no spool file")]
    Short { bytes: usize },
    #[error("it is no spool file")]
    Foreign,
    #[error("it has version {found}, this binary knows {VERSION}")]
    Version { found: u8 },
    #[error("it has {found} bytes, its header says {expected}")]
    Length { found: usize, expected: usize },
    #[error("its checksum is wrong")]
    Checksum,
}

impl SpooledEntry {
    pub(crate) fn encode(&self) -> Bytes {
        let mut file = BytesMut::with_capacity(HEADER_BYTES + self.bytes.len());
        file.put_slice(MAGIC);
        file.put_slice(&[VERSION, 0, 0, 0]);
        file.put_u32_le(self.group.0);
        file.put_u32_le(self.events as u32);
        file.put_i64_le(self.received.0);
        file.put_u32_le(self.bytes.len() as u32);
        let checksum = crc32c::crc32c_append(crc32c::crc32c(&file), &self.bytes);
        file.put_u32_le(checksum);
        file.put_slice(&self.bytes);
        file.freeze()
    }

    pub(crate) fn decode(file: &Bytes) -> Result<Self, FileError> {
        let header = Header::decode(file)?;
        let entry = file.slice(HEADER_BYTES..);
        header.check_length(file.len())?;
        let checked = file.slice(..CHECKED_HEADER_BYTES);
        let checksum = crc32c::crc32c_append(crc32c::crc32c(&checked), &entry);
        if checksum != header.checksum {
            return Err(FileError::Checksum);
        }
        Ok(Self {
            group: header.group,
            received: header.received,
            events: header.events,
            bytes: entry,
        })
    }
}

impl Header {
    /// Reads the head of a file; what is behind it is not looked at.
    pub(crate) fn decode(mut file: &[u8]) -> Result<Self, FileError> {
        let bytes = file.len();
        if bytes < HEADER_BYTES {
            return Err(FileError::Short { bytes });
        }
        if file.get(..MAGIC.len()) != Some(MAGIC) {
            return Err(FileError::Foreign);
        }
        file.advance(MAGIC.len());
        let found = file.get_u8();
        if found != VERSION {
            return Err(FileError::Version { found });
        }
        file.advance(3);
        Ok(Self {
            group: GroupId(file.get_u32_le()),
            events: file.get_u32_le() as usize,
            received: UnixMillis(file.get_i64_le()),
            entry_bytes: file.get_u32_le() as usize,
            checksum: file.get_u32_le(),
        })
    }

    pub(crate) const fn file_bytes(&self) -> u64 {
        (HEADER_BYTES + self.entry_bytes) as u64
    }

    /// Checks the length of the whole file.
    pub(crate) const fn check_length(&self, found: usize) -> Result<(), FileError> {
        let expected = HEADER_BYTES + self.entry_bytes;
        match found == expected {
            true => Ok(()),
            false => Err(FileError::Length { found, expected }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOLDEN: &[u8] = include_bytes!("../../tests/golden/spool_v1.bin");

    fn entry() -> SpooledEntry {
        SpooledEntry {
            group: GroupId(7),
            received: UnixMillis(1_700_000_000_000),
            events: 3,
            bytes: Bytes::from_static(b"\x01an entry"),
        }
    }

    #[test]
    fn the_encoding_of_a_spool_file_never_changes() {
        if std::env::var_os("RINGTAIL_WRITE_GOLDEN").is_some() {
            let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/spool_v1.bin");
            std::fs::write(path, entry().encode()).expect("the folder is there");
        }
        assert_eq!(entry().encode(), GOLDEN);
        assert_eq!(
            SpooledEntry::decode(&Bytes::from_static(GOLDEN)),
            Ok(entry())
        );
    }

    #[test]
    fn a_file_cut_anywhere_or_with_any_bit_flipped_is_refused() {
        let file = entry().encode();
        for length in 0..file.len() {
            assert!(
                SpooledEntry::decode(&file.slice(..length)).is_err(),
                "cut to {length}"
            );
        }
        // Bytes 5 to 7 are covered by the checksum like the rest.
        for bit in 0..file.len() * 8 {
            let mut damaged = file.to_vec();
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert!(
                SpooledEntry::decode(&damaged.into()).is_err(),
                "bit {bit} flipped"
            );
        }
    }
}

//! Segment files: their names and the header each starts with.
//!
//! ```text
//! 0 magic "RTLG"   4 version   5..8 zero   8 segment   12 head_bytes   16..28 zero   28 crc32c of the 28 bytes before
//! ```
//! `head_bytes` is the length that was durable before the file got its name: header and group heads.
//! These 32 bytes keep their layout in every version, so that an older binary can tell a newer segment from a
//! damaged one.

use std::fmt;

use crate::error::LogError;

/// Version this binary writes, and the newest it reads.
pub(crate) const FORMAT_VERSION: u8 = 1;
/// Bytes before the first record.
pub(crate) const SEGMENT_HEADER_BYTES: usize = 32;

const MAGIC: [u8; 4] = *b"RTLG";
const SUFFIX: &str = ".segment";

/// Number of a segment: they follow each other without a gap, the oldest may be gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SegmentId(pub u32);

impl fmt::Display for SegmentId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:08x}", self.0)
    }
}

impl SegmentId {
    pub(crate) fn next(self) -> Self {
        Self(self.0 + 1)
    }

    pub(crate) fn file_name(self) -> String {
        format!("{self}{SUFFIX}")
    }

    /// Name while the segment is being made: it becomes a segment by a rename, with a durable header.
    pub(crate) fn unfinished_file_name(self) -> String {
        format!("{self}{SUFFIX}.new")
    }

    /// The segment with this file name, if it is the name of one.
    pub(crate) fn from_file_name(name: &str) -> Option<Self> {
        let digits = name.strip_suffix(SUFFIX)?;
        let id = u32::from_str_radix(digits, 16).ok()?;
        (Self(id).file_name() == name).then_some(Self(id))
    }
}

/// True for a file that a crash left behind while a segment was being made.
pub(crate) fn is_unfinished(name: &str) -> bool {
    name.strip_suffix(".new")
        .is_some_and(|name| SegmentId::from_file_name(name).is_some())
}

pub(crate) fn encode_header(segment: SegmentId, head_bytes: u32) -> [u8; SEGMENT_HEADER_BYTES] {
    let mut fields = [0_u8; SEGMENT_HEADER_BYTES - 4];
    let parts = MAGIC
        .into_iter()
        .chain([FORMAT_VERSION, 0, 0, 0])
        .chain(segment.0.to_le_bytes())
        .chain(head_bytes.to_le_bytes());
    for (field, byte) in fields.iter_mut().zip(parts) {
        *field = byte;
    }
    let mut header = [0_u8; SEGMENT_HEADER_BYTES];
    let crc = crc32c::crc32c(&fields).to_le_bytes();
    for (byte, part) in header.iter_mut().zip(fields.into_iter().chain(crc)) {
        *byte = part;
    }
    header
}

/// Checks the header at the start of the segment's bytes and returns its `head_bytes`.
pub(crate) fn check_header(bytes: &[u8], segment: SegmentId) -> Result<u32, LogError> {
    let corrupt = |reason| LogError::Corrupt {
        segment,
        offset: 0,
        reason,
    };
    let Some((header, _)) = bytes.split_first_chunk::<SEGMENT_HEADER_BYTES>() else {
        return Err(corrupt("segment header is cut short"));
    };
    let (fields, crc) = header.split_at(SEGMENT_HEADER_BYTES - 4);
    if crc != crc32c::crc32c(fields).to_le_bytes() {
        return Err(corrupt("segment header fails its checksum"));
    }
    if !fields.starts_with(&MAGIC) {
        return Err(corrupt("not a log segment"));
    }
    let version = fields.get(4).copied().unwrap_or_default();
    if version > FORMAT_VERSION {
        return Err(LogError::NewerVersion {
            segment,
            found: version,
            supported: FORMAT_VERSION,
        });
    }
    let head_bytes = fields
        .get(12..)
        .and_then(|field| field.first_chunk::<4>())
        .map_or(0, |field| u32::from_le_bytes(*field));
    if header != &encode_header(segment, head_bytes) {
        return Err(corrupt("segment header names another segment"));
    }
    Ok(head_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_exact_names_are_segments() {
        let check = |name, expect| assert_eq!(SegmentId::from_file_name(name), expect, "{name}");
        check("0000000a.segment", Some(SegmentId(10)));
        check("0000000A.segment", None);
        check("a.segment", None);
        check("0000000a.segment.new", None);
        check("+000000a.segment", None);
        check("notes.txt", None);
        assert!(is_unfinished("0000000a.segment.new"));
        assert!(!is_unfinished("0000000a.segment"));
    }
}

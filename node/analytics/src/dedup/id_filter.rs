//! A small filter over the ids of one hour.

use bytes::Bytes;
use xorf::{BinaryFuse16, BinaryFuse16Ref, DmaSerializable, Filter, FilterRef};

use crate::rows::stored_hour::{RowError, damaged, versioned};

const FILTER_VERSION: u8 = 1;
/// Up to so many ids are listed instead: a fuse filter has a floor under its size.
const LISTED_MAX: usize = 16;
const LISTED: u8 = 0;
const FUSE: u8 = 1;

/// Says "certainly not" or "perhaps" (a share of 2⁻¹⁶ wrongly).
///
/// Kept as the bytes of its row: version, kind, and sorted hashes, or descriptor and fingerprints of a binary fuse
/// filter (Graf and Lemire 2022).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct IdFilter {
    row: Bytes,
}

impl IdFilter {
    /// The filter over these hashes, which are sorted and distinct.
    pub(crate) fn of(hashes: &[u64]) -> Self {
        let mut row = vec![FILTER_VERSION];
        let fuse = match hashes.len() {
            ..=LISTED_MAX => None,
            _ => BinaryFuse16::try_from(hashes).ok(),
        };
        match fuse {
            Some(fuse) => {
                row.push(FUSE);
                let mut descriptor = [0; BinaryFuse16::DESCRIPTOR_LEN];
                fuse.dma_copy_descriptor_to(&mut descriptor);
                row.extend_from_slice(&descriptor);
                row.extend_from_slice(fuse.dma_fingerprints());
            }
            None => {
                row.push(LISTED);
                for hash in hashes {
                    row.extend_from_slice(&hash.to_le_bytes());
                }
            }
        }
        Self { row: row.into() }
    }

    /// The row's value.
    pub(crate) fn to_row(&self) -> Bytes {
        self.row.clone()
    }

    /// Reads a row; the shape is checked here, so that lookups cannot fail.
    pub(crate) fn from_row(row: Bytes) -> Result<Self, RowError> {
        let body = versioned(&row, FILTER_VERSION)?;
        let (kind, body) = body.split_first().ok_or(RowError::Truncated)?;
        let is_whole = match *kind {
            LISTED => body.len().is_multiple_of(size_of::<u64>()),
            FUSE => is_whole_fuse(body),
            _ => false,
        };
        if !is_whole {
            return Err(damaged("id filter"));
        }
        Ok(Self { row })
    }

    /// False when the hash is certainly none of the hour's.
    pub(crate) fn may_contain(&self, hash: u64) -> bool {
        let Some([_, kind, body @ ..]) = self.row.get(..) else {
            return false;
        };
        match *kind {
            FUSE => match body.split_at_checked(BinaryFuse16::DESCRIPTOR_LEN) {
                Some((descriptor, fingerprints)) => {
                    BinaryFuse16Ref::from_dma(descriptor, fingerprints).contains(&hash)
                }
                None => true,
            },
            _ => body
                .chunks_exact(size_of::<u64>())
                .any(|known| known == hash.to_le_bytes()),
        }
    }
}

/// Descriptor: seed u64, segment length, its mask and the length of all segments but the last two as u32 each; a lookup
/// touches three segments beyond the last of them.
fn is_whole_fuse(body: &[u8]) -> bool {
    let Some((descriptor, fingerprints)) = body.split_at_checked(BinaryFuse16::DESCRIPTOR_LEN)
    else {
        return false;
    };
    let number = |at: usize| {
        let bytes = descriptor
            .get(at..at + 4)
            .and_then(|bytes| bytes.try_into().ok());
        bytes.map_or(0, u32::from_le_bytes) as usize
    };
    let (segment, mask, all) = (number(8), number(12), number(16));
    segment.is_power_of_two()
        && mask == segment - 1
        && all % segment == 0
        && fingerprints.len() / size_of::<u16>() >= all + 2 * segment
}

//! Rows of ids: sorted hashes with the log index of first acceptance.
//!
//! Layout: version byte; width of an offset in bytes (4 or 8); lowest index as a little-endian u64; all hashes, sorted;
//! for each hash the offset of its index from the lowest.

use bytes::Bytes;

use crate::rows::stored_hour::{RowError, damaged, versioned};

const IDS_VERSION: u8 = 1;

/// Writes ids; sorts them.
pub(crate) fn encode(mut ids: Vec<(u64, u64)>) -> Bytes {
    ids.sort_unstable();
    let lowest = ids.iter().map(|(_, index)| *index).min().unwrap_or(0);
    let is_wide = ids
        .iter()
        .any(|(_, index)| index - lowest > u64::from(u32::MAX));
    let width = if is_wide { 8 } else { 4 };
    let mut row = Vec::with_capacity(10 + ids.len() * (8 + width));
    row.push(IDS_VERSION);
    row.push(width as u8);
    row.extend_from_slice(&lowest.to_le_bytes());
    for (hash, _) in &ids {
        row.extend_from_slice(&hash.to_le_bytes());
    }
    for (_, index) in &ids {
        let offset = (index - lowest).to_le_bytes();
        row.extend_from_slice(offset.get(..width).unwrap_or(&offset));
    }
    row.into()
}

/// A row of ids, searched in place.
pub(crate) struct IdRows<'a> {
    lowest: u64,
    width: usize,
    hashes: &'a [u8],
    offsets: &'a [u8],
}

impl<'a> IdRows<'a> {
    pub(crate) fn read(row: &'a [u8]) -> Result<Self, RowError> {
        let body = versioned(row, IDS_VERSION)?;
        let (width, body) = body.split_first().ok_or(RowError::Truncated)?;
        let (lowest, body) = body.split_first_chunk::<8>().ok_or(RowError::Truncated)?;
        let width = usize::from(*width);
        if !matches!(width, 4 | 8) || !body.len().is_multiple_of(8 + width) {
            return Err(damaged("ids"));
        }
        let count = body.len() / (8 + width);
        let (hashes, offsets) = body.split_at(count * 8);
        Ok(Self {
            lowest: u64::from_le_bytes(*lowest),
            width,
            hashes,
            offsets,
        })
    }

    /// The index under which a hash was first accepted.
    pub(crate) fn find(&self, hash: u64) -> Option<u64> {
        let (mut from, mut to) = (0, self.hashes.len() / 8);
        while from < to {
            let middle = from.midpoint(to);
            match self.hash(middle).cmp(&hash) {
                std::cmp::Ordering::Equal => return Some(self.index(middle)),
                std::cmp::Ordering::Less => from = middle + 1,
                std::cmp::Ordering::Greater => to = middle,
            }
        }
        None
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (u64, u64)> + '_ {
        (0..self.hashes.len() / 8).map(|at| (self.hash(at), self.index(at)))
    }

    fn hash(&self, at: usize) -> u64 {
        number(self.hashes, at, 8)
    }

    fn index(&self, at: usize) -> u64 {
        self.lowest
            .saturating_add(number(self.offsets, at, self.width))
    }
}

fn number(bytes: &[u8], at: usize, width: usize) -> u64 {
    let mut value = [0; 8];
    let found = bytes.get(at * width..(at + 1) * width).unwrap_or_default();
    for (to, from) in value.iter_mut().zip(found) {
        *to = *from;
    }
    u64::from_le_bytes(value)
}

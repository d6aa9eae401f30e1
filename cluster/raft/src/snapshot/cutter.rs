//! Cuts rows into parts at places that depend on the keys alone, so that most parts of two snapshots of a group are the
//! same bytes, wherever rows changed in between.

use bytes::Bytes;

use super::{SNAPSHOT_PART_BYTES_MAX, SnapshotPart};

/// On average a part ends after so many rows, if it is not full before.
const ROWS_PER_PART: u64 = 256;

/// Gathers rows, by ascending key, into parts.
#[derive(Default)]
pub(super) struct PartCutter {
    part: SnapshotPart,
    bytes: usize,
}

impl PartCutter {
    /// Takes a row; answers the parts that it ends: the one that it has no room in, and the one that it is the last of.
    pub(super) fn push(
        &mut self,
        key: Bytes,
        value: Bytes,
    ) -> impl Iterator<Item = SnapshotPart> + use<> {
        let bytes = key.len() + value.len();
        let full = match self.bytes + bytes > SNAPSHOT_PART_BYTES_MAX {
            true => self.rest(),
            false => None,
        };
        let is_cut = is_place_for_a_cut(&key);
        self.bytes += bytes;
        self.part.rows.push((key, value));
        let ended = is_cut.then(|| self.take());
        full.into_iter().chain(ended)
    }

    /// What is left at the end.
    pub(super) fn rest(&mut self) -> Option<SnapshotPart> {
        (!self.part.rows.is_empty()).then(|| self.take())
    }

    fn take(&mut self) -> SnapshotPart {
        self.bytes = 0;
        std::mem::take(&mut self.part)
    }
}

fn is_place_for_a_cut(key: &[u8]) -> bool {
    let hash = blake3::hash(key);
    let (first, _) = hash.as_bytes().split_at(8);
    let number = first
        .iter()
        .fold(0, |number, byte| number << 8 | u64::from(*byte));
    number % ROWS_PER_PART == 0
}

#[cfg(test)]
#[allow(clippy::indexing_slicing, reason = "a test may fail by panic")]
mod tests {
    use std::collections::HashSet;

    use super::super::staged_file::part_bytes;
    use super::*;

    fn parts(rows: impl Iterator<Item = (u32, u32)>) -> Vec<Bytes> {
        let mut cutter = PartCutter::default();
        let mut parts = Vec::new();
        for (key, value) in rows {
            let (key, value) = (key.to_be_bytes().to_vec(), value.to_be_bytes().to_vec());
            parts.extend(cutter.push(key.into(), value.into()));
        }
        parts.extend(cutter.rest());
        parts
            .iter()
            .map(|part| part_bytes(part).expect("small rows"))
            .collect()
    }

    #[test]
    fn changed_rows_change_only_the_parts_around_them() {
        let rows = |changed: u32| (0..50_000).map(move |key| (key, u32::from(key == changed)));
        let before = parts(rows(u32::MAX));
        assert!((100..400).contains(&before.len()), "{} parts", before.len());
        let known: HashSet<&Bytes> = before.iter().collect();
        let after = parts(rows(20_000));
        let new = after.iter().filter(|part| !known.contains(part)).count();
        assert_eq!(new, 1);
        // Rows that came or went move no later cut.
        let fewer = parts(rows(u32::MAX).filter(|(key, _)| !(20_000..20_010).contains(key)));
        let new = fewer.iter().filter(|part| !known.contains(part)).count();
        assert!((1..=2).contains(&new), "{new} new parts");
    }

    #[test]
    fn a_part_of_several_rows_is_bounded_whatever_the_rows() {
        let mut cutter = PartCutter::default();
        let sizes = [1, 100, 100_000, 400_000, SNAPSHOT_PART_BYTES_MAX - 4];
        let rows = (0..3_000_u32).map(|key| {
            let size = sizes[(key as usize).wrapping_mul(7) % sizes.len()];
            let size = if key % 50 == 0 { size } else { size.min(100) };
            (
                Bytes::copy_from_slice(&key.to_be_bytes()),
                Bytes::from(vec![7; size]),
            )
        });
        let rows: Vec<_> = rows.collect();
        let mut parts = Vec::new();
        for (key, value) in rows.clone() {
            parts.extend(cutter.push(key, value));
        }
        parts.extend(cutter.rest());
        for part in &parts {
            let bytes = part.rows.iter().map(|(key, value)| key.len() + value.len());
            let bytes: usize = bytes.sum();
            assert!(bytes <= SNAPSHOT_PART_BYTES_MAX, "{bytes} bytes");
        }
        let cut: Vec<_> = parts.into_iter().flat_map(|part| part.rows).collect();
        assert_eq!(cut, rows);
        assert_eq!(cutter.rest(), None);
    }
}

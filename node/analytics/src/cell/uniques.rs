//! A set of visitors that can be counted and merged: exact while small, a sketch beyond.

use ringtail_proto::VisitorId;
use smallvec::SmallVec;
use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::{
    codec::{PageError, Reader, Writer},
    registers::Registers,
};

/// How many registers the sketch of a set has, once it is one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Precision {
    /// Of one value among many: 2^10 registers, standard error 3.25 %.
    Value,
    /// Of the whole site: 2^12 registers, standard error 1.625 %.
    Total,
}

impl Precision {
    const fn lg_k(self) -> u8 {
        match self {
            Self::Value => 10,
            Self::Total => 12,
        }
    }

    /// So many distinct hashes are kept one by one; one more makes it a sketch. A site has few totals and many
    /// values, so totals may stay exact for longer.
    #[must_use]
    pub const fn exact_hashes_max(self) -> usize {
        match self {
            Self::Value => 256,
            Self::Total => 2_048,
        }
    }

    /// Standard error of an estimate, as a share of it: 1.04 / √registers (Flajolet et al. 2007).
    #[must_use]
    pub fn relative_error(self) -> f64 {
        1.04 / f64::from(1_u32 << self.lg_k()).sqrt()
    }
}

/// Distinct visitors. Equal sets are equal values, whatever the order in which they were built.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Uniques {
    precision: Precision,
    kept: Kept,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Kept {
    /// Sorted.
    Exact(SmallVec<[u64; 2]>),
    Sketch(Registers),
}

impl Uniques {
    /// The empty set.
    #[must_use]
    pub const fn new(precision: Precision) -> Self {
        Self {
            precision,
            kept: Kept::Exact(SmallVec::new_const()),
        }
    }

    /// The hash under which a site counts a visitor; keyed, so that nobody can aim at a register from outside.
    #[must_use]
    pub fn hash(visitor: VisitorId, sketch_key: u64) -> u64 {
        xxh3_64_with_seed(&visitor.0.to_le_bytes(), sketch_key)
    }

    /// Adds a visitor by its keyed hash.
    pub fn insert(&mut self, hash: u64) {
        match &mut self.kept {
            Kept::Sketch(registers) => registers.insert(hash),
            Kept::Exact(hashes) => {
                if let Err(place) = hashes.binary_search(&hash) {
                    hashes.insert(place, hash);
                    self.sketch_when_over();
                }
            }
        }
    }

    /// Adds all visitors of another set. The precision becomes the lower of both.
    pub fn merge(&mut self, other: &Self) {
        self.lower_precision(other.precision);
        match (&mut self.kept, &other.kept) {
            (Kept::Exact(mine), Kept::Exact(theirs)) => {
                merge_sorted(mine, theirs);
                self.sketch_when_over();
            }
            (Kept::Sketch(registers), Kept::Exact(hashes)) => {
                for hash in hashes {
                    registers.insert(*hash);
                }
            }
            (Kept::Exact(_), Kept::Sketch(theirs)) => {
                self.make_sketch();
                self.merge_registers(theirs);
            }
            (Kept::Sketch(_), Kept::Sketch(theirs)) => self.merge_registers(theirs),
        }
    }

    /// The number of distinct visitors; exact or estimated.
    #[must_use]
    pub fn estimate(&self) -> u64 {
        match &self.kept {
            Kept::Exact(hashes) => hashes.len() as u64,
            Kept::Sketch(registers) => registers.estimate().round() as u64,
        }
    }

    /// True when the count is no estimate.
    #[must_use]
    pub const fn is_exact(&self) -> bool {
        matches!(self.kept, Kept::Exact(_))
    }

    /// True when nobody is in it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        matches!(&self.kept, Kept::Exact(hashes) if hashes.is_empty())
    }

    /// Standard error of the count as a share of it; 0 when exact.
    #[must_use]
    pub fn relative_error(&self) -> f64 {
        if self.is_exact() {
            0.0
        } else {
            self.precision.relative_error()
        }
    }

    /// Memory beside the value itself.
    pub(super) fn heap_bytes(&self) -> usize {
        match &self.kept {
            Kept::Exact(hashes) if hashes.spilled() => hashes.capacity() * size_of::<u64>(),
            Kept::Exact(_) => 0,
            Kept::Sketch(registers) => registers.bytes().len(),
        }
    }

    /// Number of hashes + 1 and the hashes, or 0 and the registers; the precision goes with the table.
    pub(super) fn encode(&self, writer: &mut Writer) {
        match &self.kept {
            Kept::Exact(hashes) => {
                writer.number(hashes.len() as u64 + 1);
                for hash in hashes {
                    writer.bytes(&hash.to_le_bytes());
                }
            }
            Kept::Sketch(registers) => {
                writer.number(0);
                writer.bytes(registers.bytes());
            }
        }
    }

    pub(super) fn decode(reader: &mut Reader<'_>, precision: Precision) -> Result<Self, PageError> {
        let kept = match reader.number()? {
            0 => {
                let bytes = reader.bytes(1 << precision.lg_k())?;
                let registers = Registers::from_bytes(precision.lg_k(), bytes)
                    .ok_or(PageError::Malformed("a register is out of range"))?;
                Kept::Sketch(registers)
            }
            count_plus_one if count_plus_one <= precision.exact_hashes_max() as u64 + 1 => {
                Kept::Exact(decode_hashes(reader, count_plus_one as usize - 1)?)
            }
            _ => return Err(PageError::Malformed("more exact hashes than allowed")),
        };
        Ok(Self { precision, kept })
    }

    fn lower_precision(&mut self, to: Precision) {
        if to >= self.precision {
            return;
        }
        self.precision = to;
        if let Kept::Sketch(registers) = &mut self.kept {
            registers.shrink(1 << to.lg_k());
        }
    }

    fn sketch_when_over(&mut self) {
        if matches!(&self.kept, Kept::Exact(hashes) if hashes.len() > self.precision.exact_hashes_max())
        {
            self.make_sketch();
        }
    }

    fn make_sketch(&mut self) {
        if let Kept::Exact(hashes) = &self.kept {
            let mut registers = Registers::new(self.precision.lg_k());
            for hash in hashes {
                registers.insert(*hash);
            }
            self.kept = Kept::Sketch(registers);
        }
    }

    fn merge_registers(&mut self, theirs: &Registers) {
        if let Kept::Sketch(registers) = &mut self.kept {
            registers.merge(theirs);
        }
    }
}

/// Sorted and distinct, or the page is damaged.
fn decode_hashes(reader: &mut Reader<'_>, count: usize) -> Result<SmallVec<[u64; 2]>, PageError> {
    let mut hashes = SmallVec::with_capacity(count);
    let mut last = None;
    for _ in 0..count {
        let hash = u64::from_le_bytes(reader.array()?);
        if last.is_some_and(|last| last >= hash) {
            return Err(PageError::Malformed("exact hashes are not in order"));
        }
        last = Some(hash);
        hashes.push(hash);
    }
    Ok(hashes)
}

/// Adds the sorted `theirs` to the sorted `mine`.
fn merge_sorted(mine: &mut SmallVec<[u64; 2]>, theirs: &[u64]) {
    if let [hash] = theirs {
        if let Err(place) = mine.binary_search(hash) {
            mine.insert(place, *hash);
        }
        return;
    }
    let mut merged = SmallVec::with_capacity(mine.len() + theirs.len());
    let mut left = mine.iter().copied().peekable();
    let mut right = theirs.iter().copied().peekable();
    while let (Some(a), Some(b)) = (left.peek().copied(), right.peek().copied()) {
        merged.push(a.min(b));
        if a <= b {
            left.next();
        }
        if b <= a {
            right.next();
        }
    }
    merged.extend(left);
    merged.extend(right);
    *mine = merged;
}

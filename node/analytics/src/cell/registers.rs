//! The registers of a HyperLogLog sketch: the maximum of what each part of the hash space has seen.
//!
//! The registers alone are the state, so that equal sets of hashes give equal bytes whatever their order. The
//! estimate is that of Apache DataSketches for merged sketches ("out of order", no HIP), read through its HLL_8 image.

use datasketches::hll::HllSketch;

/// Registers of one sketch; their number is a power of two.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Registers(Box<[u8]>);

/// Bits of the hash that never count towards a register's value: they choose the register.
const SLOT_BITS: u64 = 0xFFF;
/// Size of the preamble of an HLL image, in 32-bit words and in bytes.
const PREAMBLE_WORDS: u8 = 10;
const PREAMBLE_BYTES: usize = 40;
const SERIAL_VERSION: u8 = 1;
const FAMILY_HLL: u8 = 7;
const FLAG_OUT_OF_ORDER: u8 = 16;
/// Current mode HLL (2), target type HLL_8 (2).
const MODE_HLL_8: u8 = 2 | (2 << 2);

impl Registers {
    /// The largest value that 52 hash bits can give.
    pub(super) const VALUE_MAX: u8 = 53;

    pub(super) fn new(lg_k: u8) -> Self {
        Self(vec![0; 1 << lg_k].into_boxed_slice())
    }

    /// Takes stored registers; none when a value cannot come from a hash or their number is not 2^lg_k.
    pub(super) fn from_bytes(lg_k: u8, bytes: &[u8]) -> Option<Self> {
        (bytes.len() == 1 << lg_k && bytes.iter().all(|value| *value <= Self::VALUE_MAX))
            .then(|| Self(bytes.into()))
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.0
    }

    pub(super) fn insert(&mut self, hash: u64) {
        let mask = self.0.len() as u64 - 1;
        let value = ((hash | SLOT_BITS).leading_zeros() + 1) as u8;
        if let Some(register) = self.0.get_mut((hash & mask) as usize) {
            *register = value.max(*register);
        }
    }

    /// Takes the maximum of both; registers beyond the shorter one's fold onto it.
    pub(super) fn merge(&mut self, other: &Self) {
        if self.0.len() > other.0.len() {
            self.shrink(other.0.len());
        }
        let mask = self.0.len() - 1;
        if self.0.len() == other.0.len() {
            for (register, value) in self.0.iter_mut().zip(other.0.iter()) {
                *register = (*value).max(*register);
            }
            return;
        }
        for (slot, value) in other.0.iter().enumerate() {
            if let Some(register) = self.0.get_mut(slot & mask) {
                *register = (*value).max(*register);
            }
        }
    }

    /// Folds down to fewer registers; the slot is the low end of the hash, so that this equals having had fewer.
    pub(super) fn shrink(&mut self, registers: usize) {
        let mut shorter = Self(vec![0; registers].into_boxed_slice());
        shorter.merge(self);
        *self = shorter;
    }

    /// The estimated number of distinct hashes.
    pub(super) fn estimate(&self) -> f64 {
        let image = self.image();
        HllSketch::deserialize(&image)
            .expect("the image is written by the format's own rules just above")
            .composite_estimate()
    }

    /// The HLL_8 image of Apache DataSketches, marked as merged out of order.
    fn image(&self) -> Vec<u8> {
        let mut small_values = 0.0_f64;
        let mut large_values = 0.0_f64;
        let mut zeros = 0_u32;
        for value in &self.0 {
            // Exact in any order: sums of few powers of two that lie within 53 bits of each other.
            let weight = f64::from_bits((1023 - u64::from(*value)) << 52);
            if *value < 32 {
                small_values += weight;
            } else {
                large_values += weight;
            }
            zeros += u32::from(*value == 0);
        }
        let lg_k = self.0.len().trailing_zeros() as u8;
        let mut image = Vec::with_capacity(PREAMBLE_BYTES + self.0.len());
        image.extend([PREAMBLE_WORDS, SERIAL_VERSION, FAMILY_HLL, lg_k]);
        image.extend([0, FLAG_OUT_OF_ORDER, 0, MODE_HLL_8]);
        image.extend(0.0_f64.to_le_bytes());
        image.extend(small_values.to_le_bytes());
        image.extend(large_values.to_le_bytes());
        image.extend(zeros.to_le_bytes());
        image.extend(0_u32.to_le_bytes());
        image.extend(self.0.iter());
        image
    }
}

//! Hashing of ids that are hashes already.

use std::hash::{BuildHasher, Hasher};

/// Maps keyed by visitor or event ids: those are keyed hashes, so that one multiplication spreads them enough. Equal on
/// every replica and in every run, unlike the default hasher.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct IdHash;

/// The hasher of [`IdHash`].
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct IdHasher(u64);

pub(crate) type IdMap<K, V> = hashbrown::HashMap<K, V, IdHash>;
pub(crate) type IdSet<K> = hashbrown::HashSet<K, IdHash>;

impl BuildHasher for IdHash {
    type Hasher = IdHasher;

    fn build_hasher(&self) -> IdHasher {
        IdHasher::default()
    }
}

impl Hasher for IdHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_u64(u64::from(*byte));
        }
    }

    fn write_u32(&mut self, value: u32) {
        self.write_u64(u64::from(value));
    }

    fn write_u64(&mut self, value: u64) {
        // A multiplication folded onto itself, so that high bits of the input reach low bits of the hash.
        let product = u128::from(self.0 ^ value ^ 0x9E37_79B9_7F4A_7C15) * 0xD6E8_FEB8_6659_FD93;
        self.0 = (product as u64) ^ ((product >> 64) as u64);
    }
}

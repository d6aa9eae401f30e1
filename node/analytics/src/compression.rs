//! zstd with working memory that each thread keeps: a checkpoint packs thousands of small rows, and making a context
//! for each costs as much as packing it.

use std::{cell::RefCell, io};

use zstd::bulk::{Compressor, Decompressor};

thread_local! {
    static COMPRESSOR: RefCell<Compressor<'static>> = RefCell::default();
    static DECOMPRESSOR: RefCell<Decompressor<'static>> = RefCell::default();
}

/// The bytes as one frame; they depend on nothing but the input and the level.
pub(crate) fn compress(bytes: &[u8], level: i32) -> Vec<u8> {
    COMPRESSOR.with_borrow_mut(|compressor| {
        compressor
            .set_compression_level(level)
            .expect("levels are constants that zstd knows");
        compressor
            .compress(bytes)
            .expect("zstd allocates the bound of its input and fails on nothing else")
    })
}

/// Unpacks a frame that says how long it is inside.
pub(crate) fn decompress(bytes: &[u8], unpacked_bytes: usize) -> io::Result<Vec<u8>> {
    DECOMPRESSOR.with_borrow_mut(|decompressor| decompressor.decompress(bytes, unpacked_bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_does_not_depend_on_those_before_it() {
        let text: Vec<u8> = (0..50_000_u64)
            .flat_map(|n| (n * n % 8_191).to_le_bytes())
            .collect();
        for level in [1, 3, 1] {
            for length in [0, 1, 300, 40_000, text.len(), 300] {
                let plain = &text[..length];
                let packed = compress(plain, level);
                assert_eq!(packed, zstd::bulk::compress(plain, level).unwrap());
                assert_eq!(decompress(&packed, length).unwrap(), plain);
            }
        }
    }
}

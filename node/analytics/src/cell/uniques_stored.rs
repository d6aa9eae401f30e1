//! Sets of visitors as bytes of their own, for minutes in the state's rows.

use super::{
    codec::{Reader, Writer},
    uniques::{Precision, Uniques},
};

impl Uniques {
    /// The set's bytes; equal sets have equal bytes.
    pub(crate) fn to_stored(&self) -> Vec<u8> {
        let mut writer = Writer(Vec::new());
        self.encode(&mut writer);
        writer.0
    }

    /// Reads what [`Self::to_stored`] wrote; none when it is damaged.
    pub(crate) fn from_stored(bytes: &[u8], precision: Precision) -> Option<Self> {
        let mut reader = Reader(bytes);
        let set = Self::decode(&mut reader, precision).ok()?;
        reader.0.is_empty().then_some(set)
    }
}

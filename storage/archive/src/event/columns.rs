//! Columns of a batch by name and type; none when there is no such column.

use arrow_array::{
    Array, ArrowPrimitiveType, DictionaryArray, Int32Array, PrimitiveArray, RecordBatch,
    StringArray, UInt32Array, UInt64Array,
    cast::AsArray,
    types::{Int32Type, UInt32Type, UInt64Type},
};
use arrow_buffer::Buffer;
use bytes::Bytes;

pub(crate) fn primitive<'a, T: ArrowPrimitiveType>(
    batch: &'a RecordBatch,
    name: &str,
) -> Option<&'a PrimitiveArray<T>> {
    batch.column_by_name(name)?.as_primitive_opt::<T>()
}

pub(crate) fn u64s<'a>(batch: &'a RecordBatch, name: &str) -> Option<&'a UInt64Array> {
    primitive::<UInt64Type>(batch, name)
}

pub(crate) fn u32s<'a>(batch: &'a RecordBatch, name: &str) -> Option<&'a UInt32Array> {
    primitive::<UInt32Type>(batch, name)
}

/// A dictionary column.
#[derive(Clone, Debug)]
pub(crate) struct Texts {
    keys: Int32Array,
    values: StringArray,
}

impl Texts {
    pub(crate) fn of(batch: &RecordBatch, name: &str) -> Option<Self> {
        let column: &DictionaryArray<Int32Type> =
            batch.column_by_name(name)?.as_dictionary_opt()?;
        Some(Self {
            keys: column.keys().clone(),
            values: column.values().as_string_opt::<i32>()?.clone(),
        })
    }

    /// The row's position among the values.
    pub(crate) fn key(&self, row: usize) -> Option<usize> {
        at(&self.keys, row).and_then(|key| usize::try_from(key).ok())
    }

    pub(crate) fn get(&self, row: usize) -> Option<&str> {
        self.key(row).map(|key| self.values.value(key))
    }

    pub(crate) const fn values(&self) -> &StringArray {
        &self.values
    }
}

/// Texts that share the memory of their array.
pub(crate) fn shared_texts(texts: &StringArray) -> impl Iterator<Item = Bytes> {
    let all = Bytes::from_owner(SharedMemory(texts.values().clone()));
    let offsets = texts.value_offsets().to_vec();
    (0..texts.len()).map(move |position| {
        let end = |position: usize| offsets.get(position).map_or(0, |end| *end as usize);
        all.slice(end(position)..end(position + 1))
    })
}

/// Memory of a column as plain bytes.
struct SharedMemory(Buffer);

impl AsRef<[u8]> for SharedMemory {
    fn as_ref(&self) -> &[u8] {
        self.0.as_slice()
    }
}

/// The value of a row, unless it is null.
pub(crate) fn at<T: ArrowPrimitiveType>(
    array: &PrimitiveArray<T>,
    row: usize,
) -> Option<T::Native> {
    match array.is_null(row) {
        true => None,
        false => Some(array.value(row)),
    }
}

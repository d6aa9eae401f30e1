//! Values that many rows share, each kept once, and the Arrow dictionaries made of them.

use std::hash::Hash;

use arrow_array::{
    DictionaryArray, Int32Array, StringArray, builder::StringBuilder, types::Int32Type,
};
use bytes::Bytes;
use hashbrown::HashMap;

/// A position that names nothing.
const NOTHING: u32 = u32::MAX;
/// A position that was not looked for yet.
const UNKNOWN: u32 = u32::MAX - 1;

/// One value for each row, equal ones stored once.
#[derive(Debug)]
pub(crate) struct Interned<T> {
    positions: HashMap<T, u32>,
    values: Vec<T>,
    rows: Vec<u32>,
}

impl<T> Default for Interned<T> {
    fn default() -> Self {
        Self {
            positions: HashMap::new(),
            values: Vec::new(),
            rows: Vec::new(),
        }
    }
}

impl<T: Clone + Eq + Hash> Interned<T> {
    /// The value of the next row.
    pub(crate) fn push(&mut self, value: Option<&T>) {
        let position = match value {
            None => NOTHING,
            Some(value) => self.position(value),
        };
        self.rows.push(position);
    }

    /// The value of the next row is the one at a position of a table that many rows share; `known` remembers where the
    /// table's values stand, so that each is looked for only once.
    pub(crate) fn push_shared(&mut self, known: &mut Vec<u32>, table: &[T], position: u32) {
        if known.len() != table.len() {
            known.clear();
            known.resize(table.len(), UNKNOWN);
        }
        let row = match known.get_mut(position as usize) {
            None => NOTHING,
            Some(found) => {
                if *found == UNKNOWN
                    && let Some(value) = table.get(position as usize)
                {
                    *found = self.position(value);
                }
                *found
            }
        };
        self.rows.push(row);
    }

    /// Where a value stands; it is added when it is new.
    fn position(&mut self, value: &T) -> u32 {
        if let Some(position) = self.positions.get(value) {
            return *position;
        }
        let position = self.values.len() as u32;
        self.positions.insert(value.clone(), position);
        self.values.push(value.clone());
        position
    }

    /// A dictionary column of one text of each value, with the rows in another order.
    pub(crate) fn column<'a>(
        &'a self,
        order: &[u32],
        text: impl Fn(&'a T) -> &'a Bytes,
    ) -> DictionaryArray<Int32Type> {
        let mut known: HashMap<&[u8], i32> = HashMap::new();
        let mut texts = StringBuilder::new();
        let positions: Vec<i32> = self
            .values
            .iter()
            .map(|value| {
                let text = text(value).as_ref();
                let next = known.len() as i32;
                *known.entry(text).or_insert_with(|| {
                    texts.append_value(String::from_utf8_lossy(text));
                    next
                })
            })
            .collect();
        let keys: Int32Array = order
            .iter()
            .map(|row| {
                let value = self.rows.get(*row as usize)?;
                positions.get(*value as usize).copied()
            })
            .collect();
        dictionary(keys, texts.finish())
    }
}

impl Interned<Bytes> {
    /// The dictionary column of the values themselves.
    pub(crate) fn text_column(&self, order: &[u32]) -> DictionaryArray<Int32Type> {
        self.column(order, |text| text)
    }
}

fn dictionary(keys: Int32Array, texts: StringArray) -> DictionaryArray<Int32Type> {
    DictionaryArray::try_new(keys, std::sync::Arc::new(texts))
        .expect("every key is the position of a text")
}

//! What is known about the rows of a batch's table, found once for each row that is needed.

use hashbrown::HashMap;

/// By position in a table; a map when the slice has too few events to be worth a whole table.
pub(super) enum ByPosition<T> {
    Table(Vec<Option<T>>),
    Map(HashMap<u32, T>),
}

impl<T: Copy> ByPosition<T> {
    pub(super) fn new(rows: usize, events: usize) -> Self {
        match rows <= events.saturating_mul(4) {
            true => Self::Table(vec![None; rows]),
            false => Self::Map(HashMap::new()),
        }
    }

    /// What is known about a row, or what `find` says.
    pub(super) fn get(&mut self, position: u32, find: impl FnOnce() -> T) -> T {
        match self {
            Self::Map(known) => *known.entry(position).or_insert_with(find),
            Self::Table(known) => match known.get_mut(position as usize) {
                Some(known) => *known.get_or_insert_with(find),
                None => find(),
            },
        }
    }
}

//! The cells of one dimension over one span of time.

use hashbrown::HashMap;
use ringtail_proto::Text;

use super::{sums::Cell, uniques::Precision};
use crate::Dimension;

/// A page keeps so many values of a dimension; the others are in its visible remainder.
pub const PAGE_VALUES_MAX: usize = 1_000;

/// The cells of one dimension, sorted by value, and what caps have folded together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CellTable {
    /// Sorted by the bytes of the value, each value once. The empty value stands for "none".
    cells: Vec<(Text, Cell)>,
    remainder: Option<Remainder>,
    precision: Precision,
}

/// Values that a cap folded together: counted and visible, never dropped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Remainder {
    /// At most so many values are in it: a value that was folded in several hours counts in each.
    pub values: u64,
    /// Their sums and visitors.
    pub cell: Cell,
}

impl CellTable {
    /// A table over nothing, with the precision that goes with the dimension.
    #[must_use]
    pub const fn new(dimension: Dimension) -> Self {
        Self {
            cells: Vec::new(),
            remainder: None,
            precision: Self::precision_of(dimension),
        }
    }

    /// Totals are counted more precisely than values.
    #[must_use]
    pub const fn precision_of(dimension: Dimension) -> Precision {
        match dimension {
            Dimension::Total => Precision::Total,
            _ => Precision::Value,
        }
    }

    /// Takes cells in any order, each value once.
    pub(super) fn from_cells(
        mut cells: Vec<(Text, Cell)>,
        remainder: Option<Remainder>,
        precision: Precision,
    ) -> Self {
        cells.sort_unstable_by(|left, right| left.0.cmp(&right.0));
        Self {
            cells,
            remainder,
            precision,
        }
    }

    /// The cells, sorted by value.
    #[must_use]
    pub fn cells(&self) -> &[(Text, Cell)] {
        &self.cells
    }

    /// What caps folded together.
    #[must_use]
    pub const fn remainder(&self) -> Option<&Remainder> {
        self.remainder.as_ref()
    }

    /// The precision of its sets of visitors.
    #[must_use]
    pub const fn precision(&self) -> Precision {
        self.precision
    }

    /// True when nothing is in it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.cells.is_empty() && self.remainder.is_none()
    }

    /// The cell of a value.
    #[must_use]
    pub fn get(&self, value: &str) -> Option<&Cell> {
        let place = self
            .cells
            .binary_search_by(|(known, _)| known.as_bytes().cmp(value.as_bytes()))
            .ok()?;
        self.cells.get(place).map(|(_, cell)| cell)
    }

    /// Roughly the memory that it takes.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        let cells = self.cells.iter().map(|(value, cell)| {
            size_of::<(Text, Cell)>() + value.len() + cell.visitors.heap_bytes()
        });
        size_of::<Self>() + cells.sum::<usize>()
    }

    /// All cells and the remainder as one. In dimensions where an event can have several values, or none, this is
    /// the sum over values, not the site's total: that is what [`Dimension::Total`] holds.
    #[must_use]
    pub fn sum(&self) -> Cell {
        let mut sum = Cell::new(self.precision);
        for (_, cell) in &self.cells {
            sum.merge(cell);
        }
        if let Some(remainder) = &self.remainder {
            sum.merge(&remainder.cell);
        }
        sum
    }

    /// Adds a table of the same dimension; never cuts. Associative and commutative.
    pub fn merge(&mut self, other: &Self) {
        *self = Self::merge_all(self.precision, [&*self, other]);
    }

    /// Merges tables of one dimension; never cuts.
    #[must_use]
    pub fn merge_all<'a>(precision: Precision, tables: impl IntoIterator<Item = &'a Self>) -> Self {
        let mut places: HashMap<Text, usize> = HashMap::new();
        let mut cells: Vec<(Text, Cell)> = Vec::new();
        let mut remainder: Option<Remainder> = None;
        for table in tables {
            for (value, cell) in &table.cells {
                let known = places.get(value).and_then(|place| cells.get_mut(*place));
                match known {
                    Some((_, known)) => known.merge(cell),
                    None => {
                        places.insert(value.clone(), cells.len());
                        cells.push((value.clone(), cell.clone()));
                    }
                }
            }
            if let Some(theirs) = &table.remainder {
                add_remainder(&mut remainder, precision, theirs.values, &theirs.cell);
            }
        }
        Self::from_cells(cells, remainder, precision)
    }

    /// Keeps the `values_max` heaviest values, by events and then by value; the others join the remainder.
    #[must_use]
    pub fn cut(mut self, values_max: usize) -> Self {
        if self.cells.len() <= values_max {
            return self;
        }
        self.cells.sort_unstable_by(|left, right| {
            (right.1.events.cmp(&left.1.events)).then_with(|| left.0.cmp(&right.0))
        });
        for (_, cell) in self.cells.drain(values_max..) {
            add_remainder(&mut self.remainder, self.precision, 1, &cell);
        }
        Self::from_cells(self.cells, self.remainder, self.precision)
    }
}

pub(super) fn add_remainder(
    remainder: &mut Option<Remainder>,
    precision: Precision,
    values: u64,
    cell: &Cell,
) {
    let remainder = remainder.get_or_insert_with(|| Remainder {
        values: 0,
        cell: Cell::new(precision),
    });
    remainder.values = remainder.values.saturating_add(values);
    remainder.cell.merge(cell);
}

//! Cells: what a report is made of.
//!
//! A cell is (dimension, hour, value) → sums and distinct visitors. Cells are only ever *folded* from the rows of an
//! hour and *merged* with each other; none is corrected in place, because a sketch cannot subtract. Merging is
//! associative and commutative, so that hours may be merged into days and days into months in any order.

mod codec;
mod fold;
mod page;
mod registers;
mod roll_up;
mod sums;
mod table;
mod uniques;
mod uniques_stored;

pub use codec::PageError;
pub use fold::{Dictionary, fold_dimension, fold_hour};
pub use page::{DimensionPage, HourPage, page_dimensions};
pub use roll_up::{RollUpError, remove_pages_over, roll_up};
pub use sums::{Cell, RevenueSum};
pub use table::{CellTable, PAGE_VALUES_MAX, Remainder};
pub use uniques::{Precision, Uniques};

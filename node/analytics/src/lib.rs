//! The pure product core: from accepted events to reports, without clock, I/O, threads or actors.
//!
//! Place in the flow: *aggregate* (events → site state → rows and pages) and the arithmetic behind *query*
//! (rows and pages → cells). It deliberately knows nothing of Raft, actors, stores or the network.

mod cell;
mod dimension;
mod visit_hour;
mod zone;

pub use cell::{
    Cell, CellTable, Dictionary, DimensionPage, EXACT_HASHES_MAX, HourPage, PAGE_VALUES_MAX,
    PageError, Precision, Remainder, RevenueSum, RollUpError, Uniques, fold_dimension, fold_hour,
    page_dimensions, remove_pages_over, roll_up,
};
pub use dimension::Dimension;
pub use visit_hour::{Money, NO_VALUE, REMAINDER, Touch, ValueId, VisitHour, VisitTotals};
pub use zone::{DAY_MS, HOUR_MS, Zone};

//! Rows of hours: the shape that cells fold from, and how an hour's visits rest in the store.

pub(crate) mod hour_rows;
pub(crate) mod minute;
pub(crate) mod stored_hour;
pub(crate) mod stored_values;

pub use hour_rows::{HourRows, Touches};
pub use minute::Minute;
pub use stored_hour::{RowError, decode_minutes};

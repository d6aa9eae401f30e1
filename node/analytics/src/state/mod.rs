//! A site's state: what one log entry does to it, how it rests in rows, and the handle that queries take.

mod batch_tables;
mod checkpoint;
pub(crate) mod error;
mod folding;
pub(crate) mod hot_chains;
mod hour_sums;
pub(crate) mod id_hash;
mod imports;
mod late_merge;
mod load;
#[cfg(feature = "planted-bugs")]
mod planted_bugs;
mod recent;
mod resolve;
mod site_row;
mod site_state;
mod state_hash;
mod store_hours;
mod value_caps;
mod view;

pub(crate) use batch_tables::BatchTables;
pub use error::StateError;
pub(crate) use imports::is_broken_mark;
pub use imports::{IMPORT_SOURCES_MAX, ImportProgress};
pub use load::SiteOutline;
pub use recent::{RECENT_MINUTES, RecentCell, RecentTable};
pub(crate) use resolve::time_of;
pub use site_state::{DICTIONARY_BYTES_MAX, LATE_EVENTS_HARD_MAX, LATE_EVENTS_MAX, SiteState};
pub use view::{SiteView, VisitSpan};

//! Ringtail's vocabulary: ids, events, wire and stored messages, row keys, and the closed sets of reasons and errors.
//!
//! Every other crate speaks in these words. Nothing here does I/O, reads a clock, or knows how a value is processed.

mod drop_reason;
mod error_kind;
mod event;
mod ids;
mod row;
pub mod stored;
mod text;
mod verdict;
pub mod wire;

pub use drop_reason::DropReason;
pub use error_kind::ErrorKind;
pub use event::{Acquisition, Client, CurrencyCode, Event, EventFlags, Place, Revenue};
pub use ids::{
    EventId, Generation, GroupId, HourStart, LogIndex, NodeId, SiteGeneration, SiteId, Slot,
    UnixMillis, VisitorId,
};
pub use row::{RowReadError, RowReader, RowWrite, SiteRow};
pub use text::Text;
pub use verdict::Verdict;

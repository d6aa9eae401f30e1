//! The archive: every event of a group, for ever, in Parquet files in an object store.
//!
//! Place in the flow: a group's leader *seals* a range of its log. [`SealBuilder`] turns the entries into at most one
//! object for each table, [`Archive::put`] stores them, and a log entry (`ArchiveChange`) names them with their hashes:
//! only then they are read, and only then the log behind them may go. What was sealed comes back by [`Replay`], entry by
//! entry in the order of the log, exactly as it went in; [`merge()`] and [`rewrite`] make new objects out of old ones,
//! [`MergePlan`] says which, and [`verify`] looks whether an object is what the manifest says.
//!
//! | table     | a row is                                       | sorted by                                   |
//! |-----------|------------------------------------------------|---------------------------------------------|
//! | `events`  | a stored event with the verdict of apply       | site, time, log index, slice, place in it   |
//! | `visits`  | a visit's part in one hour; highest index wins | site, hour, log index                       |
//! | `changes` | a site's command, or a slice that needs a row  | site, stamp, log index, slice               |
//!
//! What it deliberately does not know: Raft, actors, where the manifest is kept, and the rules by which apply decides.
//! It is the only crate that names Parquet and the object store.

mod archive;
mod change;
mod cluster_file;
mod error;
mod event;
mod intern;
mod loaded_events;
mod local_files;
mod location;
mod merge;
mod merge_plan;
mod object_path;
mod object_reader;
mod object_writer;
mod orphans;
mod pruning;
mod reading;
mod replay;
mod retry;
mod rewrite;
mod seal;
mod selection;
mod table;
mod verify;
mod visit;

/// For those who bring a store of their own.
pub use object_store;

pub use archive::{Archive, ArchiveOptions, ListedObject};
pub use error::ArchiveError;
pub use location::{Keys, Location};
pub use merge::merge;
pub use merge_plan::{Merge, MergeOptions, MergePlan};
pub use object_path::{ObjectPath, received_date};
pub use object_writer::BuiltObject;
pub use orphans::OrphanPlan;
pub use replay::{EventSlice, Replay, ReplayItem, ReplayStep};
pub use rewrite::{Rewritten, RowView, rewrite};
pub use seal::{EntryHead, SealBuilder, SealOptions};
pub use selection::Selection;
pub use table::{FORMAT, Table};
pub use verify::{Verified, verify};
pub use visit::{VisitAttributes, VisitPart, VisitRow, VisitTotals};

//! Which event ids were counted: exact for recent stamps, filters with an exact look into the store for older ones.
//!
//! Ids are kept by the UTC hour of the stamp of the entry that first accepted them, so that whole hours can be
//! forgotten. An hour is remembered until no event of its time could be accepted any more.

mod directory;
mod id_filter;
mod id_rows;

pub(crate) use directory::{Dedup, DedupView, StoredDedup};

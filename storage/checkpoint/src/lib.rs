//! Where derived state rests: rows of a group's sites and of the group itself, changed by atomic batches.
//!
//! Place in the flow: *checkpoint*. A partition's duties give it one batch per site, then one [`CheckpointStore::persist`];
//! queries and loading sites read from snapshots. Every replica keeps the rows of its groups here; all rows of a group
//! can be sent to a peer, replaced by a peer's, or removed.
//!
//! It deliberately knows nothing of what the rows mean: each value begins with a version byte of its owner. It neither
//! decides when to persist nor runs anything in the background of its own.

pub mod cassandra;
pub mod conformance;
mod elsewhere;
mod embedded;
mod error;
mod free_space;
mod group_batch;
mod group_key;
mod memory;
mod row_check;
mod site_reader;
mod store;

pub use elsewhere::{Elsewhere, Stub};
pub use embedded::{EmbeddedOptions, EmbeddedStore};
pub use error::StoreError;
pub use free_space::{DiskFreeSpace, FreeSpace};
pub use group_batch::GroupBatch;
pub use group_key::{GROUP_NAME_BYTES_MAX, GroupKey};
pub use memory::MemoryStore;
pub use site_reader::SiteReader;
pub use store::{
    CheckpointStore, GroupReplacement, GroupSnapshot, GroupStore, RawRow, VALUE_BYTES_MAX,
};

//! Checkpoints behind the log: what sites' rows are goes to ScyllaDB or Cassandra, written by each group's leader.
//!
//! Place in the flow: *checkpoint*. A checkpoint leaves a note of the rows that it changed; the leader's [`Mirrorer`] reads
//! these rows as they are now and writes them as one version of the site, then tells the group how far the mirror is, so
//! that all replicas forget their notes.
//!
//! It deliberately knows nothing of what a row means, and nobody waits for it: while the servers are away notes gather on
//! disk, and that is all.
//!
//! Promises:
//! - A version of a site in the mirror is the site at one entry of the log, all of it, whoever wrote it and whatever an
//!   earlier leader still sends.
//! - A note goes only when what it names is in the mirror.
//! - A page leaves a node only after the mirror gave back the same bytes; what is read back is these bytes, or an error.

mod error;
mod evictor;
mod group_rows;
mod mirrored_pages;
mod mirrorer;
mod notes;
mod options;
mod progress;
mod site_rows;
mod tenure;
mod turn;
mod version;

pub use error::MirroringError;
pub use evictor::Evictor;
pub use mirrored_pages::{GroupOf, MirroredPages};
pub use mirrorer::{MirrorRound, Mirrorer};
pub use options::MirrorerOptions;
pub use progress::GroupMirror;
pub use version::{index_of, term_of, version};

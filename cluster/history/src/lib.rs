//! What becomes of a group's past: sealed into the archive, copied where it belongs, and made into new generations.
//!
//! Place in the flow: *archive*. Once a group's sites are checkpointed past an entry, its leader's [`Archivist`] writes the
//! entries up to there as objects and proposes a seal that names them; every replica applies it, and only then gives up
//! its log. Where each node has an archive of its own, the others fetch the objects from a peer before that.
//! When a later generation of a site begins, every replica derives it from archive and log by itself: the same entries
//! under the same rules are the same state.
//!
//! It deliberately knows nothing of what an event means, and decides nothing about when history is to be reprocessed.
//!
//! Promises:
//! - What is given up of the log can be read from the archive, by this node too.
//! - A seal that lost a race, or whose leader died in the middle of it, leaves objects that nobody reads, and nothing else.

mod archivist;
mod builder;
mod cleaning;
mod copying;
mod error;
mod feed;
mod generation_keeper;
mod merging;
mod objects;
mod options;
mod room;
mod seal;
mod sealing;
mod wishes;
mod work;

pub use archivist::{ArchiveRound, Archivist};
pub use builder::{BuildProgress, Builder};
pub use error::HistoryError;
pub use feed::{EventFeed, EventPosition, Fed, FedSlice, FeedSource};
pub use generation_keeper::GenerationKeeper;
pub use objects::{ObjectPeers, ObjectsService, PeerObjects};
pub use options::HistoryOptions;
pub use room::Room;
pub use wishes::{SiteWish, WantedGeneration, Wishes};

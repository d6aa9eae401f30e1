//! The partitions of one node: what their logs say is applied to sites, checkpointed, and shown to queries.
//!
//! Place in the flow: *aggregate* and *checkpoint*. Committed entries come from Raft, each site's slice goes to the
//! site's actor, verdicts go back; duties write dirty sites to the store and raise the group's floor behind them.
//!
//! It deliberately knows nothing of what an event means ([`SiteMachine`] does), nothing of metadata, and reads no clock
//! to apply: whatever alters apply comes in the entry.
//!
//! Promises:
//! - An entry counts as applied only after every site in it has answered; a site takes each entry once.
//! - A floor on disk never claims an entry that the rows on disk do not hold.
//! - A replica that gets a peer's rows takes all of them over at once or stays what it was; one that has nothing yet
//!   answers nothing.
//! - An entry that one site cannot apply is skipped for that site, alike on every replica; nothing else is lost.

mod apply;
mod archive_objects;
mod capped;
mod clock;
mod complete_generations;
mod duties;
mod duty_plan;
mod ended_generations;
mod entry;
mod error;
mod failure;
mod feeds;
mod floor_row;
mod floors;
mod generation_build;
mod generations;
mod group_history;
mod history;
mod lazy_rows;
mod log_source;
mod logged;
mod machine;
mod manifest;
mod memberships;
mod mirroring;
mod node_state;
mod notes;
mod options;
mod pace;
mod partition;
mod partitions;
mod past_slice;
mod places;
mod positions;
mod progress;
mod quiet;
mod recent_verdicts;
mod replica;
mod roll_ups;
mod site_actor;
mod site_gauge;
mod site_generations;
mod site_hashes;
mod sites;
mod snapshot_row;
mod snapshot_sink;
mod snapshot_source;
mod snapshots;
mod spawner;
mod status;
#[cfg(test)]
mod tests;
mod unsealed;
mod verdict_book;
mod verdict_counts;

pub use archive_objects::{ArchiveManifest, SealedEntries};
pub use clock::{Clock, SystemClock};
pub use duties::DutyReport;
pub use error::{PartitionError, SiteError};
pub use generation_build::GenerationBuild;
pub use history::{ArchiveState, SealLimits, Unsealed, UnsealedEntry};
pub use log_source::{FloorSink, LogSource, SharedLog};
pub use logged::{Logged, LoggedEntry};
pub use machine::{ApplyAt, SiteChange, SiteCondition, SiteMachine, SiteMachineError};
pub use manifest::ArchiveBegan;
pub use mirroring::MirrorTurn;
pub use notes::{Note, SliceVerdicts};
pub use options::PartitionOptions;
pub use partition::Seams;
pub use partitions::Partitions;
pub use past_slice::PastSlice;
pub use site_actor::{ViewAt, Written};
pub use site_generations::{SiteGenerations, Unbuilt};
pub use site_hashes::SiteHashes;
pub use spawner::{ArbiterSpawner, LocalSpawner, Spawner, StartActor};
pub use status::PartitionStatus;

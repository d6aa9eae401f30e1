//! The partitions of one node: what their logs say is applied to sites, checkpointed, and shown to queries.
//!
//! Place in the flow: *aggregate* and *checkpoint*. Committed entries come from Raft, each site's slice goes to the
//! site's actor, verdicts go back; duties write dirty sites to the store and raise the group's floor behind them.
//!
//! It deliberately knows nothing of what an event means ([`SiteMachine`] does), nothing of metadata, and reads no clock
//! to apply: whatever alters apply comes in the entry.

mod machine;

pub use machine::{ApplyAt, SiteChange, SiteCondition, SiteMachine, SiteMachineError};

//! Which group a site belongs to, and which nodes hold a group: pure arithmetic, alike on every node.
//!
//! Place in the flow: *route* (site → slot → group) and the metadata leader's reconciler (groups → nodes). It
//! deliberately knows nothing of Raft, of what nodes do, or of how a plan is carried out.

mod node;
mod placement;
mod plan;
mod slot_table;

pub use node::RingNode;
pub use placement::{Placement, PlacementOptions, replication_factor};
pub use plan::{GroupMove, PlacementPlan};
pub use slot_table::{SlotTable, SlotTableError};

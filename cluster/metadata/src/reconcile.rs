//! How groups come to the nodes that should hold them: a plan first, then one careful step after the other.
//!
//! The node that leads group 0 runs the [`Reconciler`]: it compares where groups are sent with where they should be, and
//! sends a bounded number of them elsewhere. The node that leads a group runs its [`Keeper`]: it compares the group's
//! members with where it was sent, and takes the next step. Neither remembers anything that matters: after a crash,
//! whoever leads then looks again and goes on.

mod control;
mod drain;
mod keeper;
mod lost;
mod observed;
mod plan;
mod raft_group;
mod reconciler;
mod step;

pub use control::{GroupControl, GroupMembers, LogBounds, NodeHealth, OpenGroups};
pub use drain::{DrainProgress, drain_progress};
pub use keeper::{Keeper, KeeperOptions};
pub use lost::next_of_lost;
pub use observed::Observed;
pub(crate) use plan::METADATA_VOTERS_MAX;
pub use plan::{PlanOptions, ReconcilePlan, plan};
pub use reconciler::{Reconciler, ReconcilerOptions};
pub use ringtail_ring::replication_factor;
pub use step::{Step, StepOptions, next_step};

//! What the ring as a whole has agreed on beside its nodes and groups.

use serde::{Deserialize, Serialize};

/// One row; absent in a ring that never had a second node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct RingState {
    /// Ids are assigned from 1 and never used again.
    pub(crate) last_node: u64,
    pub(crate) last_token: u64,
    /// The most replicas of a group.
    pub(crate) replicas_max: u8,
    /// Nodes whose binary knows less may not join.
    pub(crate) feature_gate: u32,
}

impl Default for RingState {
    fn default() -> Self {
        Self {
            last_node: 0,
            last_token: 0,
            replicas_max: 3,
            feature_gate: 0,
        }
    }
}

//! How the node is: what load balancers and operators ask.

use std::sync::atomic::{AtomicU8, Ordering};

use ringtail_proto::ErrorKind;

use crate::api_error::ApiError;

/// The states of a node's life, in their order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub(crate) enum NodeState {
    /// Applying what the log holds beyond the checkpoints: live, not ready.
    Replaying = 0,
    /// Takes events and answers queries.
    Ready = 1,
    /// Stopping: finishes what is under way.
    Draining = 2,
    /// The log or the store has failed; the process is about to end.
    Failed = 3,
}

impl NodeState {
    /// The name used in answers.
    #[must_use]
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Replaying => "replaying",
            Self::Ready => "ready",
            Self::Draining => "draining",
            Self::Failed => "failed",
        }
    }
}

/// The node's state, shared.
#[derive(Debug, Default)]
pub(crate) struct Health(AtomicU8);

impl Health {
    /// The state now.
    #[must_use]
    pub(crate) fn state(&self) -> NodeState {
        match self.0.load(Ordering::Acquire) {
            0 => NodeState::Replaying,
            1 => NodeState::Ready,
            2 => NodeState::Draining,
            _ => NodeState::Failed,
        }
    }

    /// Moves on; a node never goes back to an earlier state.
    pub(crate) fn advance(&self, state: NodeState) {
        self.0.fetch_max(state as u8, Ordering::AcqRel);
    }

    /// Refuses what a node that replays cannot answer; one that stops answers what still reaches it.
    pub(crate) fn require_ready(&self) -> Result<(), ApiError> {
        if matches!(self.state(), NodeState::Ready | NodeState::Draining) {
            return Ok(());
        }
        let message = format!("the node is {}", self.state().name());
        Err(ApiError::new(ErrorKind::Unavailable, message))
    }

    /// True when load balancers may send questions; a full disk changes nothing about that.
    #[must_use]
    pub(crate) fn is_ready(&self) -> bool {
        self.state() == NodeState::Ready
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_never_goes_back() {
        let health = Health::default();
        assert_eq!(health.state(), NodeState::Replaying);
        health.advance(NodeState::Draining);
        health.advance(NodeState::Ready);
        assert_eq!(health.state(), NodeState::Draining);
    }
}

//! Who leads a group, as this node knows it.

use openraft::ServerState;
use openraft::async_runtime::watch::WatchReceiver;
use openraft::metrics::RaftServerMetrics;
use openraft::type_config::alias::WatchReceiverOf;
use ringtail_proto::NodeId;

use crate::types::TypeConfig;

/// Who leads a group, as this node knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Leadership {
    /// The term in which that is so.
    pub term: u64,
    /// The leader, if there is one.
    pub leader: Option<NodeId>,
    /// True when it is this node.
    pub is_leader: bool,
}

/// Follows who leads a group.
pub struct LeadershipWatch {
    metrics: WatchReceiverOf<TypeConfig, RaftServerMetrics<TypeConfig>>,
    seen: Option<Leadership>,
}

impl LeadershipWatch {
    pub(crate) fn new(metrics: WatchReceiverOf<TypeConfig, RaftServerMetrics<TypeConfig>>) -> Self {
        Self {
            metrics,
            seen: None,
        }
    }

    /// Who leads now.
    #[must_use]
    pub fn current(&self) -> Leadership {
        let metrics = self.metrics.borrow_watched();
        let is_leader =
            metrics.state == ServerState::Leader && metrics.current_leader == Some(metrics.id);
        Leadership {
            term: metrics.vote.leader_id.term,
            leader: metrics.current_leader.map(NodeId),
            is_leader,
        }
    }

    /// Waits until it is not what the last call returned; the first call returns at once. `None` once the group has
    /// stopped.
    pub async fn changed(&mut self) -> Option<Leadership> {
        loop {
            let current = self.current();
            if self.seen != Some(current) {
                self.seen = Some(current);
                return Some(current);
            }
            self.metrics.changed().await.ok()?;
        }
    }
}

//! Which nodes can be reached from here, for keeper and reconciler.

use std::time::Duration;

use ringtail_metadata::reconcile::NodeHealth;
use ringtail_peers::Peers;
use ringtail_proto::NodeId;

/// What the connections tell of the other nodes.
pub(crate) struct PeerHealth {
    pub(crate) node: NodeId,
    pub(crate) peers: Peers,
}

impl NodeHealth for PeerHealth {
    fn up_for(&self, node: NodeId) -> Option<Duration> {
        match node == self.node {
            true => Some(Duration::MAX),
            false => self.peers.reached_for(node),
        }
    }
}

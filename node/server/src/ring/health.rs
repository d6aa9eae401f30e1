//! Which nodes can be reached from here, for keeper and reconciler.

use std::{sync::Arc, time::Duration};

use ringtail_metadata::reconcile::NodeHealth;
use ringtail_peers::Peers;
use ringtail_proto::NodeId;

use super::Vitals;

/// What the connections tell of the other nodes.
pub(crate) struct PeerHealth {
    pub(crate) node: NodeId,
    pub(crate) peers: Peers,
    pub(crate) vitals: Arc<Vitals>,
}

impl NodeHealth for PeerHealth {
    fn up_for(&self, node: NodeId) -> Option<Duration> {
        match node == self.node {
            true => Some(Duration::MAX),
            false => self.peers.reached_for(node),
        }
    }

    fn may_lead(&self, node: NodeId) -> bool {
        self.vitals.may_lead(node)
    }
}

//! A node as placement sees it.

use ringtail_proto::NodeId;

/// A node that can hold replicas.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct RingNode {
    /// The node.
    pub id: NodeId,
    /// Where it stands; replicas of a group avoid sharing a zone. Empty: a zone of its own name.
    pub zone: String,
}

impl RingNode {
    /// A node without a zone.
    #[must_use]
    pub const fn new(id: NodeId) -> Self {
        Self {
            id,
            zone: String::new(),
        }
    }

    /// The same node in a zone.
    #[must_use]
    pub fn in_zone(mut self, zone: &str) -> Self {
        self.zone = zone.to_owned();
        self
    }

    /// True when one event could take both nodes away.
    pub(crate) fn shares_zone_with(&self, other: &Self) -> bool {
        !self.zone.is_empty() && self.zone == other.zone
    }
}

//! What the ring knows about itself.

use std::fmt;

use ringtail_proto::UnixMillis;
use ringtail_ring::SlotTable;
use serde::{Deserialize, Serialize};

/// Random id of a ring, made when it is born: a data directory of another ring is told by it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ClusterId(pub u128);

impl fmt::Display for ClusterId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:032x}", self.0)
    }
}

/// The ring: made once, at the first start of its first node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cluster {
    /// Its id.
    pub id: ClusterId,
    /// When it was born.
    pub created: UnixMillis,
    /// Number of partition groups, 1..=`groups`.
    pub groups: u32,
    /// Group of each slot of the site space.
    pub slots: SlotTable,
    /// Bounds of the metadata. They decide over commands, so that they are part of the replicated state.
    pub limits: Limits,
}

/// Bounds of the metadata; reaching one is a typed error.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// Sites of the ring.
    pub sites_max: u32,
    /// Other names of one site.
    pub aliases_per_site_max: u32,
    /// Goals of one site.
    pub goals_per_site_max: u32,
    /// Keys of the ring; revoked ones give way to new ones.
    pub keys_max: u32,
    /// Nodes of the ring.
    pub nodes_max: u32,
    /// Records of the audit log; the oldest give way.
    pub audit_records_max: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            sites_max: 1_000_000,
            aliases_per_site_max: 16,
            goals_per_site_max: 100,
            keys_max: 10_000,
            nodes_max: 256,
            audit_records_max: 10_000,
        }
    }
}

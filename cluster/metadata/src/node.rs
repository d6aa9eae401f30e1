//! Nodes of the ring.

use std::{fmt, net::SocketAddr};

use ringtail_proto::{NodeId, UnixMillis};
use serde::{Deserialize, Serialize};

/// A node of the ring.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Node {
    /// Its id, never used again.
    pub id: NodeId,
    /// When it joined.
    pub joined: UnixMillis,
    /// Where it answers.
    pub addresses: NodeAddresses,
    /// Where it stands; replicas of a group avoid sharing a zone. Empty: a zone of its own.
    pub zone: String,
    /// Whether it may hold groups.
    pub state: NodeState,
    /// The newest feature that its binary knows; see [`crate::Directory::feature_level`].
    pub feature_level: u32,
}

impl Node {
    /// True for all but those that left.
    #[must_use]
    pub fn is_member(&self) -> bool {
        self.state != NodeState::Left
    }

    /// True when groups may be placed on it.
    #[must_use]
    pub fn is_active(&self) -> bool {
        self.state == NodeState::Active
    }
}

/// What a node may do in the ring. The order of the variants is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum NodeState {
    /// It has an id, and was not heard from since; it holds nothing but a copy of the metadata.
    Joining,
    /// It holds groups.
    Active,
    /// Its groups move to others.
    Draining,
    /// It is gone for good; its id stays taken.
    Left,
}

impl NodeState {
    /// The name in commands and answers.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Joining => "joining",
            Self::Active => "active",
            Self::Draining => "draining",
            Self::Left => "left",
        }
    }
}

impl fmt::Display for NodeState {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

/// RFC 2606 keeps names that end so from ever meaning a machine.
const NOWHERE: &str = "lost.invalid:1";

/// Where a node answers, each as `host:port`; empty when it does not.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeAddresses {
    /// Beacons, API, dashboard.
    pub http: String,
    /// Public gRPC.
    pub grpc: String,
    /// The other nodes of the ring.
    pub peer: String,
}

impl NodeAddresses {
    /// The addresses with their names.
    #[must_use]
    pub fn named(&self) -> [(&'static str, &str); 3] {
        [
            ("http address", &self.http),
            ("grpc address", &self.grpc),
            ("peer address", &self.peer),
        ]
    }

    /// True when both would be reached at the same place by their peers. The other addresses are for those outside: two
    /// machines may well serve visitors on the loopback address of their own.
    #[must_use]
    pub fn shares_peer_with(&self, other: &Self) -> bool {
        !self.peer.is_empty() && self.peer == other.peer
    }

    /// The peer address of a node that has none any more, because another one has come to it.
    #[must_use]
    pub fn nowhere(node: NodeId) -> String {
        format!("node-{node}.{NOWHERE}")
    }

    /// True when nobody can reach the node: its address has become another's.
    #[must_use]
    pub fn is_nowhere(&self) -> bool {
        self.peer.ends_with(NOWHERE)
    }

    /// How far off another node may stand to reach this one.
    #[must_use]
    pub fn peer_reach(&self) -> PeerReach {
        let Ok(address) = self.peer.parse::<SocketAddr>() else {
            // Names are for the machines to resolve, and one that has said nothing yet will.
            return PeerReach::Anywhere;
        };
        match address.ip() {
            ip if ip.is_unspecified() => PeerReach::Nowhere,
            ip if ip.is_loopback() => PeerReach::SameMachine,
            _ => PeerReach::Anywhere,
        }
    }
}

/// Who reaches an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PeerReach {
    /// Nobody: it says where to listen, not where to call.
    Nowhere,
    /// Nodes on the same machine.
    SameMachine,
    /// Whoever has a way there.
    Anywhere,
}

/// Stored forms from before nodes had peers.
pub(crate) mod alone {
    use super::{Node, NodeAddresses, NodeId, NodeState, UnixMillis};
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    #[derive(Serialize, Deserialize)]
    struct Addresses {
        http: String,
        grpc: String,
    }

    /// The first version of a node's row.
    #[derive(Deserialize)]
    pub(crate) struct NodeRow {
        id: NodeId,
        joined: UnixMillis,
        addresses: Addresses,
    }

    impl From<NodeRow> for Node {
        fn from(row: NodeRow) -> Self {
            Self {
                id: row.id,
                joined: row.joined,
                addresses: row.addresses.into(),
                zone: String::new(),
                state: NodeState::Active,
                feature_level: 0,
            }
        }
    }

    impl From<Addresses> for NodeAddresses {
        fn from(addresses: Addresses) -> Self {
            Self {
                http: addresses.http,
                grpc: addresses.grpc,
                peer: String::new(),
            }
        }
    }

    /// Writes addresses as `RegisterNode` has them in the log: without the peer's.
    pub(crate) fn serialize<S: Serializer>(
        addresses: &NodeAddresses,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        let NodeAddresses { http, grpc, .. } = addresses.clone();
        Addresses { http, grpc }.serialize(serializer)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<NodeAddresses, D::Error> {
        Addresses::deserialize(deserializer).map(NodeAddresses::from)
    }
}

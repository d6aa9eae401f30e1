//! A machine that lost its disk comes back at the address that it had: as a new node, in place of the old one.
//!
//! The old node is only said to be nowhere. It keeps its votes until the new one is whole; the reconciler sees to that.

use std::{collections::HashMap, net::IpAddr, time::Duration};

use parking_lot::Mutex;
use ringtail_metadata::{Actor, Description, Metadata, NewNode, Node, NodeAddresses, PlacementMap};
use ringtail_peers::Peers;
use ringtail_proto::{
    GroupId, NodeId,
    wire::peer::{VitalsRequest, look_client::LookClient},
};
use tokio::{net::lookup_host, time::timeout};
use tonic::Status;

/// For how long the old node must not have answered: one that has moved says so within a second of its start.
const SILENT_MIN: Duration = Duration::from_secs(5);
/// After so long without anybody asking it begins anew: nobody knows how the node was meanwhile. A joiner asks more often.
const UNASKED_MAX: Duration = Duration::from_secs(8);
/// How long it may take to answer.
const ANSWER_WAIT_MAX: Duration = Duration::from_millis(1_500);

/// Decides whether a new node may come to the address of an old one.
pub(super) struct LostNodes {
    own: NodeId,
    metadata: Metadata,
    peers: Peers,
    /// Since when, and when last, they did not answer.
    silent: Mutex<HashMap<NodeId, (Duration, Duration)>>,
}

impl LostNodes {
    pub(super) fn new(own: NodeId, metadata: Metadata, peers: Peers) -> Self {
        Self {
            own,
            metadata,
            peers,
            silent: Mutex::default(),
        }
    }

    /// Takes the address from the old node, once nobody is there any more. The joiner has brought a good token.
    pub(super) async fn make_way(
        &self,
        old: NodeId,
        joiner: &NewNode,
        from: IpAddr,
        now: Duration,
    ) -> Result<(), Status> {
        let address = &joiner.description.addresses.peer;
        if !is_at(address, from).await {
            return Err(Status::permission_denied(format!(
                "peer address {address} belongs to node {old}, and this call comes from {from}: a node that lost its disk \
                 joins from its own address, or its old self is removed first"
            )));
        }
        let directory = self.metadata.directory();
        let node = directory.node(old);
        let node = node.ok_or_else(|| Status::unavailable(format!("node {old} has just left")))?;
        if let Some(group) = lost_with(old, &directory.nodes(), &directory.placement()) {
            return Err(Status::permission_denied(format!(
                "peer address {address} belongs to node {old}, without which group {group} has no majority: start that \
                 node with its data, or remove it"
            )));
        }
        self.is_silent(old, now).await?;
        tracing::warn!(node = %old, address, "a new node is at the address of one that is lost");
        let description = Description {
            addresses: NodeAddresses {
                peer: NodeAddresses::nowhere(old),
                ..node.addresses.clone()
            },
            zone: node.zone.clone(),
            feature_level: node.feature_level,
        };
        let by = Actor::new(format!("join token {}", joiner.secret.token));
        let described = self.metadata.describe(old, description, &by).await;
        described.map_err(|error| Status::unavailable(error.to_string()))
    }

    /// Has the joiner come again until the old node was silent for long enough.
    async fn is_silent(&self, old: NodeId, now: Duration) -> Result<(), Status> {
        if self.answers(old).await {
            self.silent.lock().remove(&old);
            let text = format!("node {old} is well, and has this peer address");
            return Err(Status::permission_denied(text));
        }
        let mut silent = self.silent.lock();
        silent.retain(|_, (_, last)| now.saturating_sub(*last) < UNASKED_MAX);
        let (since, last) = silent.entry(old).or_insert((now, now));
        *last = now;
        let silent_for = now.saturating_sub(*since);
        if silent_for >= SILENT_MIN {
            return Ok(());
        }
        let left = SILENT_MIN.saturating_sub(silent_for);
        let text = format!("node {old} has {left:?} to answer at this peer address");
        Err(Status::unavailable(text))
    }

    async fn answers(&self, node: NodeId) -> bool {
        if node == self.own {
            return true;
        }
        let Some(channel) = self.peers.channel(node) else {
            return false;
        };
        let mut client = LookClient::new(channel);
        let asked = timeout(ANSWER_WAIT_MAX, client.vitals(VitalsRequest {})).await;
        matches!(asked, Ok(Ok(_)))
    }
}

/// True when whoever calls from there is at this address, and not only says so.
async fn is_at(address: &str, from: IpAddr) -> bool {
    let Ok(Ok(mut places)) = timeout(ANSWER_WAIT_MAX, lookup_host(address)).await else {
        return false;
    };
    places.any(|place| place.ip().to_canonical() == from.to_canonical())
}

/// A group that would have no majority without the node and those that are gone.
fn lost_with(
    node: NodeId,
    nodes: &[std::sync::Arc<Node>],
    placement: &PlacementMap,
) -> Option<GroupId> {
    let is_there = |id: &NodeId| {
        let known = nodes.iter().find(|known| known.id == *id);
        *id != node && known.is_some_and(|known| known.is_member() && !known.addresses.is_nowhere())
    };
    let mut groups = placement.iter().filter(|(_, place)| {
        let there = place.voters.iter().filter(|id| is_there(id)).count();
        place.voters.contains(&node) && 2 * there <= place.voters.len()
    });
    groups.next().map(|(group, _)| *group)
}

//! Keeps the connections where the metadata says that the nodes are.

use std::{sync::Arc, time::Duration};

use futures::future::join_all;
use ringtail_metadata::{Metadata, NodeAddresses, PeerReach};
use ringtail_peers::{PeerState, Peers};
use ringtail_proto::{
    NodeId,
    wire::peer::{ReadIndexRequest, ring_client::RingClient},
};
use ringtail_raft::RaftNode;
use tokio::time::timeout;

use crate::exit::{Exit, ExitError};

/// How often a node that is not connected to is called, and how long it may take to answer.
const CALL_INTERVAL: Duration = Duration::from_secs(1);

/// Runs until it is aborted.
pub(crate) async fn follow_addresses(metadata: Metadata, peers: Peers, raft: Arc<RaftNode>) {
    let directory = metadata.directory();
    let mut changes = metadata.changes();
    loop {
        changes.mark_unchanged();
        let known = directory.peer_addresses();
        if let Err(error) = peers.set_addresses(&known) {
            tracing::error!(%error, "addresses of the ring");
        }
        raft.forget_nodes(|node| !known.contains_key(&node));
        let silent = peers.nodes().into_iter();
        let silent = silent.filter(|node| peers.state(*node) != PeerState::Reached);
        let calls = join_all(silent.map(|node| call(&peers, node)));
        // One that takes longer is called again.
        let _ = timeout(CALL_INTERVAL, calls).await;
        // Whichever comes first. A closed channel means that the node stops.
        let _ = timeout(CALL_INTERVAL, changes.changed()).await;
    }
}

/// What is wrong with a peer address that says only where to listen.
pub(crate) fn unreachable_address(address: &str) -> String {
    format!(
        "peer address {address} tells no other node where to call: set peer_advertised (RINGTAIL_PEER_ADVERTISED) to \
         HOST:PORT as the others reach this one"
    )
}

/// Refuses an address at which no other node would find this one.
pub(crate) fn check_advertised(peer: &str) -> Result<(), ExitError> {
    let addresses = NodeAddresses {
        peer: peer.to_owned(),
        ..NodeAddresses::default()
    };
    match addresses.peer_reach() {
        PeerReach::Nowhere => Err(ExitError::new(Exit::Usage, unreachable_address(peer))),
        PeerReach::SameMachine | PeerReach::Anywhere => Ok(()),
    }
}

/// Only the connection counts, not what is answered.
async fn call(peers: &Peers, node: NodeId) {
    if let Some(channel) = peers.channel(node) {
        let asked = RingClient::new(channel)
            .read_index(ReadIndexRequest {})
            .await;
        tracing::debug!(%node, is_reached = asked.is_ok(), "called");
    }
}

//! The first minutes of a node that has joined: it waits until the ring has told it what the ring is.

use std::{net::TcpListener, time::Duration};

use ringtail_metadata::{Actor, Description, Metadata};
use ringtail_peers::NodeCredentials;
use ringtail_proto::NodeId;
use ringtail_raft::RaftNode;
use tokio::time::sleep;
use tonic::service::Routes;

use super::{Members, PeerServer};
use crate::exit::{Exit, ExitError};

/// Time between two attempts to tell the ring where this node is.
const TELL_INTERVAL: Duration = Duration::from_secs(2);
/// How long one attempt may take.
const TELL_WAIT_MAX: Duration = Duration::from_secs(5);

/// Waits until the metadata are here. The ring calls where the node said that it would be when it joined; one that
/// crashed since may be elsewhere by now, so that it says so to those it knows.
pub(crate) async fn learn(
    node: NodeId,
    raft: &RaftNode,
    metadata: &Metadata,
    credentials: &NodeCredentials,
    peer: &TcpListener,
    description: &Description,
) -> Result<(), ExitError> {
    let directory = metadata.directory();
    let mut changes = metadata.changes();
    if directory.cluster().is_some() {
        return Ok(());
    }
    tracing::info!(%node, "waiting to hear from the ring");
    let members = Members::new(directory.clone());
    let routes = Routes::new(members.only(raft.service()));
    let _server = PeerServer::start(peer, credentials, routes)?;
    let hearing = async {
        while directory.cluster().is_none() {
            changes.changed().await.map_err(fail)?;
        }
        Ok(())
    };
    tokio::select! {
        heard = hearing => heard,
        () = tell(node, metadata, description) => Ok(()),
    }
}

/// Never ends: what was told may have to be told again.
async fn tell(node: NodeId, metadata: &Metadata, description: &Description) {
    let actor = Actor::new(format!("node {node}"));
    let metadata = metadata.clone().with_deadline(TELL_WAIT_MAX);
    loop {
        sleep(TELL_INTERVAL).await;
        let told = metadata.describe(node, description.clone(), &actor).await;
        match told {
            Ok(()) => tracing::info!(
                peer = description.addresses.peer,
                "the ring knows where this node is"
            ),
            Err(error) => tracing::warn!(%error, "the ring may not know where this node is"),
        }
    }
}

fn fail(error: impl std::fmt::Display) -> ExitError {
    ExitError::new(Exit::Failure, error)
}

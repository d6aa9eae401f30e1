//! The seam to the other nodes, and its implementation over gRPC.

mod breaker;
mod forward_stream;
mod peer;
mod tonic_link;

use bytes::Bytes;
use futures::{
    FutureExt as _,
    future::{BoxFuture, ready},
};
use ringtail_proto::{GroupId, NodeId};

use crate::{Proposed, RouteError};

pub(crate) use breaker::Breaker;
pub use ringtail_raft::Channels;
pub use tonic_link::{PeerNodes, TonicLink};

/// Takes entries to the node that leads their group.
pub trait LeaderLink: Send + Sync + 'static {
    /// Waits for room and sends an entry, without its stamp, on its way. Entries of one group keep the order of the
    /// calls while nothing is lost.
    ///
    /// An error means that nothing was written. Whoever drops the answer gives up waiting.
    fn forward(
        &self,
        leader: NodeId,
        group: GroupId,
        entry: Bytes,
    ) -> BoxFuture<'static, Result<Box<dyn Proposed>, RouteError>>;
}

/// Keeps copies of spooled events on other nodes.
pub trait SpoolLink: Send + Sync + 'static {
    /// Nodes that may keep a copy.
    fn peers(&self) -> Vec<NodeId>;

    /// Has a copy of this node's spool file kept; it is on disk there when this answers.
    fn keep(
        &self,
        keeper: NodeId,
        file: u64,
        content: Bytes,
    ) -> BoxFuture<'static, Result<(), LinkError>>;

    /// Says that the events of these files of this node are in their logs.
    fn drop_copies(
        &self,
        keeper: NodeId,
        files: Vec<u64>,
    ) -> BoxFuture<'static, Result<(), LinkError>>;

    /// Asks the owner what became of these files of its own.
    fn ask(
        &self,
        owner: NodeId,
        files: Vec<u64>,
    ) -> BoxFuture<'static, Result<FileFates, LinkError>>;
}

/// What an owner says about files of which another node keeps copies; the others still wait.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FileFates {
    /// Their events are in their logs.
    pub done: Vec<u64>,
    /// The owner lost them: it is for the keeper to forward them.
    pub lost: Vec<u64>,
}

/// Another node could not be asked, or said no.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("node {peer}: {message}")]
pub struct LinkError {
    /// The node.
    pub peer: NodeId,
    /// What happened.
    pub message: String,
}

/// The link of a node that is alone.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoPeers;

impl LeaderLink for NoPeers {
    fn forward(
        &self,
        leader: NodeId,
        group: GroupId,
        _: Bytes,
    ) -> BoxFuture<'static, Result<Box<dyn Proposed>, RouteError>> {
        let message = format!("there is no way to node {leader}");
        ready(Err(RouteError::Unavailable { group, message })).boxed()
    }
}

impl SpoolLink for NoPeers {
    fn peers(&self) -> Vec<NodeId> {
        Vec::new()
    }

    fn keep(&self, peer: NodeId, _: u64, _: Bytes) -> BoxFuture<'static, Result<(), LinkError>> {
        ready(Err(LinkError::alone(peer))).boxed()
    }

    fn drop_copies(&self, peer: NodeId, _: Vec<u64>) -> BoxFuture<'static, Result<(), LinkError>> {
        ready(Err(LinkError::alone(peer))).boxed()
    }

    fn ask(&self, peer: NodeId, _: Vec<u64>) -> BoxFuture<'static, Result<FileFates, LinkError>> {
        ready(Err(LinkError::alone(peer))).boxed()
    }
}

impl LinkError {
    fn alone(peer: NodeId) -> Self {
        Self {
            peer,
            message: "this node is alone".to_owned(),
        }
    }
}

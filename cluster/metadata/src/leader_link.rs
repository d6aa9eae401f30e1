//! The way to the leader of group 0 when it is another node.

use async_trait::async_trait;
use bytes::Bytes;
use ringtail_proto::{LogIndex, NodeId};

use crate::{MetadataError, Written};

/// The way to the leader of group 0 when it is another node. One hop: the other side never passes a request on.
#[async_trait]
pub trait LeaderLink: Send + Sync + 'static {
    /// Has the leader propose an entry.
    async fn propose(&self, leader: NodeId, entry: Bytes) -> Result<Written, LinkError>;

    /// Asks the leader up to where this node has to have applied.
    async fn read_index(&self, leader: NodeId) -> Result<LogIndex, LinkError>;
}

/// Why the leader gave no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LinkError {
    /// Nothing was written; another try may find the leader.
    #[error("{0}")]
    NotWritten(String),
    /// The entry may still be carried out.
    #[error("{0}")]
    InDoubt(String),
    /// The leader does not take it, and would not another time.
    #[error(transparent)]
    Refused(MetadataError),
}

/// A ring of one has nobody to ask.
pub(crate) struct NoLink;

#[async_trait]
impl LeaderLink for NoLink {
    async fn propose(&self, leader: NodeId, _entry: Bytes) -> Result<Written, LinkError> {
        Err(no_way_to(leader))
    }

    async fn read_index(&self, leader: NodeId) -> Result<LogIndex, LinkError> {
        Err(no_way_to(leader))
    }
}

pub(crate) fn no_way_to(leader: NodeId) -> LinkError {
    LinkError::NotWritten(format!("no connection to node {leader}, which leads"))
}

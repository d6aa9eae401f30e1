//! What the metadata need of their group.

use async_trait::async_trait;
use bytes::Bytes;
use ringtail_proto::{LogIndex, NodeId};
use ringtail_raft::{Group, LogPosition, RaftError};

/// What the metadata need of their group. A seam: tests stand in for a group of several nodes.
#[async_trait]
pub trait Consensus: Send + Sync + 'static {
    /// Proposes an entry here, which only the leader can do, and waits until it is applied here.
    async fn propose(&self, entry: Bytes) -> Result<Written, RaftError>;

    /// True when this node leads, as far as it knows.
    fn is_leader(&self) -> bool;

    /// The leader, as far as this node knows.
    fn leader(&self) -> Option<NodeId>;

    /// Waits until the leader is another one than this.
    async fn leader_changed(&self, from: Option<NodeId>);

    /// On the leader: an index such that state up to it includes everything acknowledged before; applied here.
    async fn read_index(&self) -> Result<LogIndex, RaftError>;

    /// Lets the log go up to what is durable.
    async fn raise_floor(&self, floor: LogPosition) -> Result<(), RaftError>;
}

/// An entry that is in the log for good.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Written {
    /// What the machine replied.
    pub reply: Bytes,
    /// Where the entry stands.
    pub index: LogIndex,
}

#[async_trait]
impl Consensus for Group {
    async fn propose(&self, entry: Bytes) -> Result<Written, RaftError> {
        let applied = Self::propose(self, entry).await?.applied().await?;
        Ok(Written {
            reply: applied.reply,
            index: applied.position.index,
        })
    }

    fn is_leader(&self) -> bool {
        Self::is_leader(self)
    }

    fn leader(&self) -> Option<NodeId> {
        Self::leader(self)
    }

    async fn leader_changed(&self, from: Option<NodeId>) {
        let mut leadership = self.watch_leadership();
        while let Some(current) = leadership.changed().await {
            if current.leader != from {
                return;
            }
        }
        // The group has stopped; whoever waits has a deadline.
        std::future::pending::<()>().await;
    }

    async fn read_index(&self) -> Result<LogIndex, RaftError> {
        let position = Self::read_index(self).await?;
        Ok(position.index)
    }

    async fn raise_floor(&self, floor: LogPosition) -> Result<(), RaftError> {
        Self::raise_floor(self, floor).await
    }
}

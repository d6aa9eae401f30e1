//! Who leads a group, as a seam.

mod hinted;

use futures::{
    FutureExt as _,
    future::{BoxFuture, pending},
};
use ringtail_proto::NodeId;
use ringtail_raft::Group;
use tokio::sync::watch;

pub use hinted::HintedLeadership;

/// Who leads a group, as far as this node knows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Leader {
    /// This node.
    Here,
    /// Another node.
    Peer(NodeId),
    /// Nobody knows.
    #[default]
    Unknown,
}

impl Leader {
    /// The other node that leads.
    #[must_use]
    pub const fn peer(self) -> Option<NodeId> {
        match self {
            Self::Peer(node) => Some(node),
            Self::Here | Self::Unknown => None,
        }
    }
}

/// Follows who leads one group: from its replica, or from hints where this node has none.
pub trait GroupLeadership: Send + Sync + 'static {
    /// Who leads now.
    fn leader(&self) -> Leader;

    /// Answers as soon as it is no longer the one that was seen; at once, if it changed already.
    fn changed(&self, seen: Leader) -> BoxFuture<'static, ()>;

    /// A node that was asked as the leader is not, or did not answer; it may have told who is.
    fn missed(&self, _asked: NodeId, _told: Option<NodeId>) {}
}

/// It never changes.
impl GroupLeadership for Leader {
    fn leader(&self) -> Leader {
        *self
    }

    fn changed(&self, seen: Leader) -> BoxFuture<'static, ()> {
        match *self == seen {
            true => pending().boxed(),
            false => futures::future::ready(()).boxed(),
        }
    }
}

/// Whoever holds the sender says who leads.
impl GroupLeadership for watch::Receiver<Leader> {
    fn leader(&self) -> Leader {
        *self.borrow()
    }

    fn changed(&self, seen: Leader) -> BoxFuture<'static, ()> {
        let mut leader = self.clone();
        async move {
            let is_changed = leader.wait_for(|leader| *leader != seen).await.is_ok();
            // Nobody will say anything more.
            if !is_changed {
                pending::<()>().await;
            }
        }
        .boxed()
    }
}

/// The leadership of a group that has a replica on this node.
pub struct RaftLeadership {
    node: NodeId,
    group: Group,
}

impl RaftLeadership {
    /// The group's leadership, seen from this node.
    #[must_use]
    pub const fn new(node: NodeId, group: Group) -> Self {
        Self { node, group }
    }
}

impl GroupLeadership for RaftLeadership {
    fn leader(&self) -> Leader {
        leader_of(self.node, &self.group.watch_leadership().current())
    }

    fn changed(&self, seen: Leader) -> BoxFuture<'static, ()> {
        let (node, mut watch) = (self.node, self.group.watch_leadership());
        async move {
            while let Some(current) = watch.changed().await {
                if leader_of(node, &current) != seen {
                    return;
                }
            }
            // The group has stopped.
            pending::<()>().await;
        }
        .boxed()
    }
}

fn leader_of(node: NodeId, leadership: &ringtail_raft::Leadership) -> Leader {
    match leadership.leader {
        _ if leadership.is_leader => Leader::Here,
        Some(leader) if leader != node => Leader::Peer(leader),
        Some(_) | None => Leader::Unknown,
    }
}

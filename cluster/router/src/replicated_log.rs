//! The seam to a partition's replicated log.

use std::sync::Arc;

use bytes::Bytes;
use futures::{FutureExt as _, future::BoxFuture};
use ringtail_proto::{ErrorKind, GroupId, UnixMillis};
use ringtail_raft::{Group, RaftError};

use crate::RouteError;

/// One group's log as the router sees it.
pub trait ReplicatedLog: Send + Sync + 'static {
    /// Waits for room and puts an entry in line. The router awaits this before it proposes the next, so entries commit
    /// in the order of the calls.
    ///
    /// An error means that nothing was written.
    fn propose(&self, entry: Bytes) -> BoxFuture<'static, Result<Box<dyn Proposed>, RouteError>>;

    /// The highest stamp that this node has applied: no later entry may carry a lower one.
    fn stamp(&self) -> UnixMillis;
}

/// An entry on its way.
pub trait Proposed: Send {
    /// Answers once a quorum holds the entry on disk; asked once, before [`Self::applied`].
    fn committed(&mut self) -> BoxFuture<'_, Result<(), RouteError>>;

    /// Answers once this node has applied it, with apply's reply.
    fn applied(self: Box<Self>) -> BoxFuture<'static, Result<Bytes, RouteError>>;
}

/// A Raft group as the router's log.
pub struct RaftLog {
    group: Group,
    stamp: Arc<dyn Fn() -> UnixMillis + Send + Sync>,
}

impl RaftLog {
    /// The group, and who knows the highest stamp that its machine has applied.
    #[must_use]
    pub fn new(group: Group, stamp: Arc<dyn Fn() -> UnixMillis + Send + Sync>) -> Self {
        Self { group, stamp }
    }
}

impl ReplicatedLog for RaftLog {
    fn propose(&self, entry: Bytes) -> BoxFuture<'static, Result<Box<dyn Proposed>, RouteError>> {
        let group = self.group.clone();
        async move {
            match group.propose(entry).await {
                Ok(proposal) => {
                    let proposed = RaftProposed {
                        group: group.id(),
                        proposal,
                    };
                    Ok(Box::new(proposed) as Box<dyn Proposed>)
                }
                Err(error) => Err(route_error(group.id(), &error)),
            }
        }
        .boxed()
    }

    fn stamp(&self) -> UnixMillis {
        (self.stamp)()
    }
}

struct RaftProposed {
    group: GroupId,
    proposal: ringtail_raft::Proposal,
}

impl Proposed for RaftProposed {
    fn committed(&mut self) -> BoxFuture<'_, Result<(), RouteError>> {
        let group = self.group;
        async move {
            match self.proposal.committed().await {
                Ok(_) => Ok(()),
                Err(error) => Err(route_error(group, &error)),
            }
        }
        .boxed()
    }

    fn applied(self: Box<Self>) -> BoxFuture<'static, Result<Bytes, RouteError>> {
        async move {
            match self.proposal.applied().await {
                Ok(applied) => Ok(applied.reply),
                Err(error) => Err(route_error(self.group, &error)),
            }
        }
        .boxed()
    }
}

fn route_error(group: GroupId, error: &RaftError) -> RouteError {
    if let RaftError::NotLeader { leader, .. } = error {
        let leader = *leader;
        return RouteError::NotLeader { group, leader };
    }
    let message = error.to_string();
    if error.may_commit() {
        return RouteError::InDoubt { group, message };
    }
    match error.kind() {
        ErrorKind::StorageFull => RouteError::StorageFull,
        ErrorKind::Unavailable => RouteError::Unavailable { group, message },
        _ => RouteError::Refused { group, message },
    }
}

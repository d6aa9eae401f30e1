//! A real group in the keeper's hands.

use std::collections::{BTreeMap, BTreeSet};

use async_trait::async_trait;
use ringtail_proto::{GroupId, LogIndex, NodeId};
use ringtail_raft::{Group, RaftError};

use super::{GroupControl, GroupMembers, LogBounds};

#[async_trait]
impl GroupControl for Group {
    fn id(&self) -> GroupId {
        Self::id(self)
    }

    fn is_leader(&self) -> bool {
        Self::is_leader(self)
    }

    fn members(&self) -> GroupMembers {
        let members = Self::members(self);
        GroupMembers {
            voters: members.voters,
            learners: members.learners,
            is_changing: members.is_changing,
        }
    }

    fn replication(&self) -> Option<BTreeMap<NodeId, Option<LogIndex>>> {
        Self::replication(self)
    }

    fn log_bounds(&self) -> LogBounds {
        let metrics = self.metrics();
        LogBounds {
            purged: metrics.purged.map_or(LogIndex(0), |purged| purged.index),
            last: metrics.last.unwrap_or_default(),
        }
    }

    async fn add_learner(&self, node: NodeId) -> Result<(), RaftError> {
        Self::add_learner(self, node).await
    }

    async fn remove_learner(&self, node: NodeId) -> Result<(), RaftError> {
        Self::remove_learner(self, node).await
    }

    async fn change_voters(
        &self,
        voters: &BTreeSet<NodeId>,
        keep_learners: bool,
    ) -> Result<(), RaftError> {
        Self::change_voters(self, voters, keep_learners).await
    }

    async fn transfer_leader(&self, to: NodeId) -> Result<(), RaftError> {
        Self::transfer_leader(self, to).await
    }
}

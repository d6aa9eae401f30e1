//! Who is in a group: asked of any member, changed by its leader.

use std::collections::{BTreeMap, BTreeSet};

use openraft::async_runtime::watch::WatchReceiver;
use openraft::errors::{ClientWriteError, RaftError as OpenraftError};
use openraft::raft::ClientWriteResponse;
use openraft::{ChangeMembers, EmptyNode};
use ringtail_proto::{LogIndex, NodeId};

use crate::error::RaftError;
use crate::group::Group;
use crate::types::TypeConfig;

/// The members of a group as this node knows them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Members {
    /// Those whose acknowledgement counts; while a change is under way, those of before and after.
    pub voters: BTreeSet<NodeId>,
    /// Those that only receive.
    pub learners: BTreeSet<NodeId>,
    /// True while a change of voters is under way.
    pub is_changing: bool,
}

type Changed = Result<
    ClientWriteResponse<TypeConfig>,
    OpenraftError<TypeConfig, ClientWriteError<TypeConfig>>,
>;

impl Group {
    /// The members as this node knows them; uncommitted ones count.
    #[must_use]
    pub fn members(&self) -> Members {
        let receiver = self.raft().server_metrics();
        let metrics = receiver.borrow_watched();
        let stored = &metrics.membership_config;
        let is_committed = stored == &metrics.committed_membership_config;
        let membership = stored.membership();
        Members {
            voters: membership.voter_ids().map(NodeId).collect(),
            learners: membership.learner_ids().map(NodeId).collect(),
            is_changing: membership.get_joint_config().len() > 1 || !is_committed,
        }
    }

    /// True when this node's acknowledgement counts.
    #[must_use]
    pub fn is_voter(&self) -> bool {
        self.members().voters.contains(&self.node())
    }

    /// How far each member's log matches this one's; `None` unless this node leads.
    #[must_use]
    pub fn replication(&self) -> Option<BTreeMap<NodeId, Option<LogIndex>>> {
        let receiver = self.raft().metrics();
        let metrics = receiver.borrow_watched();
        let replication = metrics.replication.as_ref()?;
        let progress = replication.iter().map(|(node, matched)| {
            let index = matched.as_ref().map(|id| LogIndex(id.index));
            (NodeId(*node), index)
        });
        Some(progress.collect())
    }

    /// Adds a node that only receives; returns once the group has agreed, not once the node has caught up.
    ///
    /// # Errors
    /// When this node does not lead, or another change is under way.
    pub async fn add_learner(&self, node: NodeId) -> Result<(), RaftError> {
        let added = self.raft().add_learner(node.0, EmptyNode::default(), false);
        self.membership_result(added.await)
    }

    /// Takes a node that only receives out of the group.
    ///
    /// # Errors
    /// See [`Self::add_learner`].
    pub async fn remove_learner(&self, node: NodeId) -> Result<(), RaftError> {
        let change = ChangeMembers::RemoveNodes(BTreeSet::from([node.0]));
        self.membership_result(self.raft().change_membership(change, false).await)
    }

    /// Makes these nodes, all of them members by now, the voters. Former voters leave the group, or stay to receive
    /// when `keep_learners`.
    ///
    /// # Errors
    /// See [`Self::add_learner`].
    pub async fn change_voters(
        &self,
        voters: &BTreeSet<NodeId>,
        keep_learners: bool,
    ) -> Result<(), RaftError> {
        let ids: BTreeSet<u64> = voters.iter().map(|node| node.0).collect();
        let change = ChangeMembers::ReplaceAllVoters(ids);
        self.membership_result(self.raft().change_membership(change, keep_learners).await)
    }

    /// Asks a voter to lead instead of this node; that it does shows in the leadership.
    ///
    /// # Errors
    /// When the group has stopped.
    pub async fn transfer_leader(&self, to: NodeId) -> Result<(), RaftError> {
        let asked = self.raft().trigger().transfer_leader(to.0).await;
        asked.map_err(|error| self.stopped(error))
    }

    fn membership_result(&self, changed: Changed) -> Result<(), RaftError> {
        let group = self.id();
        match changed {
            Ok(_) => Ok(()),
            Err(OpenraftError::APIError(ClientWriteError::ForwardToLeader(forward))) => {
                Err(RaftError::NotLeader {
                    group,
                    leader: forward.leader_id.map(NodeId),
                })
            }
            Err(OpenraftError::APIError(error)) => Err(RaftError::Membership {
                group,
                cause: error.to_string(),
            }),
            Err(OpenraftError::Fatal(error)) => Err(self.stopped(error)),
        }
    }
}

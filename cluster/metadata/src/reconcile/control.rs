//! What keeper and reconciler see and touch: groups and nodes.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use async_trait::async_trait;
use ringtail_proto::{GroupId, LogIndex, NodeId};
use ringtail_raft::RaftError;

/// The members of a group.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GroupMembers {
    /// Those whose acknowledgement counts; while a change is under way, those of before and after.
    pub voters: BTreeSet<NodeId>,
    /// Those that only receive.
    pub learners: BTreeSet<NodeId>,
    /// True while a change is under way.
    pub is_changing: bool,
}

/// What the leader's log holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LogBounds {
    /// Up to here the log was given up: who has less needs a snapshot.
    pub purged: LogIndex,
    /// The last entry.
    pub last: LogIndex,
}

/// One group on this node, as far as the keeper handles it.
#[async_trait]
pub trait GroupControl: Send + Sync + 'static {
    /// The group.
    fn id(&self) -> GroupId;

    /// True when this node leads it, as far as it knows.
    fn is_leader(&self) -> bool;

    /// Its members as this node knows them.
    fn members(&self) -> GroupMembers;

    /// How far each member's log matches this one's; none unless this node leads.
    fn replication(&self) -> Option<BTreeMap<NodeId, Option<LogIndex>>>;

    /// What this node's log holds.
    fn log_bounds(&self) -> LogBounds;

    /// Adds a node that only receives; returns once the group has agreed.
    async fn add_learner(&self, node: NodeId) -> Result<(), RaftError>;

    /// Takes a node that only receives out of the group.
    async fn remove_learner(&self, node: NodeId) -> Result<(), RaftError>;

    /// Makes these members the voters; former ones leave, or go on receiving when `keep_learners`.
    async fn change_voters(
        &self,
        voters: &BTreeSet<NodeId>,
        keep_learners: bool,
    ) -> Result<(), RaftError>;

    /// Asks a voter to lead instead of this node.
    async fn transfer_leader(&self, to: NodeId) -> Result<(), RaftError>;
}

/// The groups that are open on this node, asked for each time.
pub type OpenGroups = Arc<dyn Fn() -> Vec<Arc<dyn GroupControl>> + Send + Sync>;

/// What this node knows of the others.
pub trait NodeHealth: Send + Sync + 'static {
    /// For how long there has been a connection to the node; none while there is none. Always some for this node.
    fn up_for(&self, node: NodeId) -> Option<Duration>;

    /// False for a node that should not lead, whatever the placement says: its clock is off, its disk is full.
    fn may_lead(&self, _node: NodeId) -> bool {
        true
    }
}

//! Opens and closes replicas as the placement says.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use ringtail_metadata::{METADATA_GROUP, Metadata};
use ringtail_proto::{GroupId, NodeId};
use ringtail_raft::{Group, RaftNode};
use ringtail_router::{RaftLog, ReplicatedLog, Router};
use tokio::time::timeout;

use crate::Partitions;

/// How often what could not be opened or closed is tried again.
const RETRY_INTERVAL: Duration = Duration::from_secs(1);

/// Hosts what the placement sends to this node.
pub(crate) struct Hosting {
    pub(crate) node: NodeId,
    pub(crate) metadata: Metadata,
    pub(crate) raft: Arc<RaftNode>,
    pub(crate) partitions: Arc<Partitions>,
    pub(crate) router: Router,
}

impl Hosting {
    /// Runs until it is aborted.
    pub(crate) async fn run(self) {
        let mut changes = self.metadata.changes();
        loop {
            changes.mark_unchanged();
            self.look().await;
            // Whichever comes first. A closed channel means that the node stops.
            let _ = timeout(RETRY_INTERVAL, changes.changed()).await;
        }
    }

    async fn look(&self) {
        let wanted = hosted_by(&self.metadata, self.node);
        let hosted = self.partitions.hosted();
        for group in wanted.difference(&hosted) {
            match self.partitions.open_replica(&self.raft, *group).await {
                Ok(opened) => {
                    tracing::info!(%group, "replica opened");
                    self.set_local(*group, Some(log_of(opened, &self.partitions)));
                }
                Err(error) => tracing::warn!(%group, %error, "replica cannot be opened"),
            }
        }
        for group in hosted.difference(&wanted) {
            self.set_local(*group, None);
            let closing = self.raft.close_group(*group);
            // The rows stay: the log cannot forget a group, and has to agree with them when it comes back.
            match self.partitions.close_replica(*group, false, closing).await {
                Ok(()) => tracing::info!(%group, "replica closed"),
                Err(error) => tracing::warn!(%group, %error, "replica cannot be closed"),
            }
        }
    }

    fn set_local(&self, group: GroupId, log: Option<Arc<dyn ReplicatedLog>>) {
        if let Err(error) = self.router.set_local(group, log) {
            tracing::error!(%group, %error, "the router does not know the group");
        }
    }
}

/// The partitions of which a node has a replica.
pub(crate) fn hosted_by(metadata: &Metadata, node: NodeId) -> BTreeSet<GroupId> {
    let placement = metadata.directory().placement();
    let places = placement
        .iter()
        .filter(|(group, place)| **group != METADATA_GROUP && place.hosts.contains(&node));
    places.map(|(group, _)| *group).collect()
}

/// A replica's log as the router sees it.
pub(crate) fn log_of(group: Group, partitions: &Arc<Partitions>) -> Arc<dyn ReplicatedLog> {
    let (id, partitions) = (group.id(), Arc::clone(partitions));
    let stamp = Arc::new(move || partitions.stamp(id).unwrap_or_default());
    replicated_log(RaftLog::new(group, stamp))
}

#[cfg(not(feature = "planted-bugs"))]
fn replicated_log(log: RaftLog) -> Arc<dyn ReplicatedLog> {
    Arc::new(log)
}

#[cfg(feature = "planted-bugs")]
fn replicated_log(log: RaftLog) -> Arc<dyn ReplicatedLog> {
    crate::planted_bugs::replicated_log(log)
}

/// Groups that this node holds alone since the birth of the ring, so that it may make itself their first member. One
/// that was elsewhere in between has members, whether or not this node knows them.
pub(crate) fn never_moved(
    metadata: &Metadata,
    node: NodeId,
    hosted: &BTreeSet<GroupId>,
) -> BTreeSet<GroupId> {
    let placement = metadata.directory().placement();
    let is_original = |group: &GroupId| {
        placement
            .get(group)
            .is_none_or(|place| place.revision == 0 && place.voters == [node])
    };
    hosted.iter().copied().filter(is_original).collect()
}

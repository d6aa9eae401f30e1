//! Opens and closes replicas as the placement says.

use std::{sync::Arc, time::Duration};

use ringtail_metadata::Metadata;
use ringtail_partition::{Partitions, SiteMachine};
use ringtail_proto::{GroupId, NodeId};
use ringtail_raft::{Group, RaftNode};
use ringtail_router::{GroupRoute, RaftLog, ReplicatedLog, Router};
use tokio::{task::JoinHandle, time::timeout};

use crate::RouteLeadership;

/// How often what could not be opened or closed is tried again.
const RETRY_INTERVAL: Duration = Duration::from_secs(1);

/// How a replica's log is shown to the router; a seam, so that tests can put a fault in between.
pub type LogOf = Arc<dyn Fn(RaftLog) -> Arc<dyn ReplicatedLog> + Send + Sync>;

/// Hosts what the placement sends to one node.
pub struct Hosting<M: SiteMachine> {
    /// The node.
    pub node: NodeId,
    /// Say what belongs here.
    pub metadata: Metadata,
    /// Has the groups.
    pub raft: Arc<RaftNode>,
    /// Have the state of the groups.
    pub partitions: Arc<Partitions<M>>,
    /// How the router sees a replica.
    pub log_of: LogOf,
}

impl<M: SiteMachine> Hosting<M> {
    /// The way to every partition as it is now, for the router's start, and the tasks that keep the ways true.
    #[must_use]
    pub fn routes(&self) -> (Vec<GroupRoute>, Vec<JoinHandle<()>>) {
        let groups = self.partitions.slots().partitions().into_keys();
        let route = |group| {
            let raft = Arc::clone(&self.raft);
            let (leadership, follower) =
                RouteLeadership::start(self.node, group, raft, self.metadata.clone());
            let route = GroupRoute {
                group,
                leadership: Arc::new(leadership),
                log: self.raft.group(group).map(|replica| self.log(replica)),
            };
            (route, follower)
        };
        groups.map(route).unzip()
    }

    /// Opens, closes, and tells the router; runs until it is aborted.
    pub async fn run(self: Arc<Self>, router: Router) {
        let mut changes = self.metadata.changes();
        loop {
            changes.mark_unchanged();
            self.look(&router).await;
            // Whichever comes first. A closed channel means that the node stops.
            let _ = timeout(RETRY_INTERVAL, changes.changed()).await;
        }
    }

    async fn look(&self, router: &Router) {
        let wanted = self.metadata.directory().hosted_by(self.node);
        let hosted = self.partitions.hosted();
        for group in wanted.difference(&hosted) {
            match self.partitions.open_replica(&self.raft, *group).await {
                Ok(opened) => {
                    tracing::info!(%group, "replica opened");
                    set_local(router, *group, Some(self.log(opened)));
                }
                Err(error) => tracing::warn!(%group, %error, "replica cannot be opened"),
            }
        }
        for group in hosted.difference(&wanted) {
            set_local(router, *group, None);
            let closing = self.raft.close_group(*group);
            // The rows stay: the log cannot forget a group, and has to agree with them when it comes back.
            match self.partitions.close_replica(*group, false, closing).await {
                Ok(()) => tracing::info!(%group, "replica closed"),
                Err(error) => tracing::warn!(%group, %error, "replica cannot be closed"),
            }
        }
    }

    /// A replica's log as the router sees it.
    fn log(&self, replica: Group) -> Arc<dyn ReplicatedLog> {
        let (id, partitions) = (replica.id(), Arc::clone(&self.partitions));
        let stamp = Arc::new(move || partitions.stamp(id).unwrap_or_default());
        (self.log_of)(RaftLog::new(replica, stamp))
    }
}

fn set_local(router: &Router, group: GroupId, log: Option<Arc<dyn ReplicatedLog>>) {
    if let Err(error) = router.set_local(group, log) {
        tracing::error!(%group, %error, "the router does not know the group");
    }
}

//! Opens and closes replicas as the placement says, and follows who leads them.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use ringtail_metadata::{METADATA_GROUP, Metadata};
use ringtail_proto::{GroupId, NodeId};
use ringtail_raft::{Group, RaftNode};
use ringtail_router::{Leader, RaftLog, ReplicatedLog, Router};
use tokio::{
    sync::watch,
    task::JoinHandle,
    time::{sleep, timeout},
};

use super::Partitions;
use crate::sim::bugs::Bug;

const RETRY_INTERVAL: Duration = Duration::from_secs(1);
/// How long a node without a replica takes one voter for the leader before it asks another.
const GUESS_LASTING: Duration = Duration::from_secs(1);
const STOPPED_PAUSE: Duration = Duration::from_millis(100);

/// Hosts what the placement sends to this node.
pub(crate) struct Hosting {
    pub(crate) node: NodeId,
    pub(crate) metadata: Metadata,
    pub(crate) raft: Arc<RaftNode>,
    pub(crate) partitions: Arc<Partitions>,
    pub(crate) router: Router,
    pub(crate) bug: Bug,
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
                    self.set_local(*group, Some(log_of(self.bug, opened, &self.partitions)))
                }
                Err(error) => tracing::warn!(%group, %error, "replica cannot be opened"),
            }
        }
        for group in hosted.difference(&wanted) {
            self.set_local(*group, None);
            let closing = self.raft.close_group(*group);
            if let Err(error) = self.partitions.close_replica(*group, false, closing).await {
                tracing::warn!(%group, %error, "replica cannot be closed");
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

/// Groups that this node holds alone since the birth of the ring.
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

/// A replica's log as the router sees it.
pub(crate) fn log_of(
    bug: Bug,
    group: Group,
    partitions: &Arc<Partitions>,
) -> Arc<dyn ReplicatedLog> {
    let (id, partitions) = (group.id(), Arc::clone(partitions));
    let stamp = Arc::new(move || partitions.stamp(id).unwrap_or_default());
    bug.replicated_log(RaftLog::new(group, stamp))
}

/// Follows who leads one group.
pub(crate) struct RouteLeadership {
    node: NodeId,
    group: GroupId,
    raft: Arc<RaftNode>,
    metadata: Metadata,
    leader: watch::Sender<Leader>,
    guesses: usize,
}

impl RouteLeadership {
    /// What the router follows, and the task that tells it.
    pub(crate) fn start(
        node: NodeId,
        group: GroupId,
        raft: Arc<RaftNode>,
        metadata: Metadata,
    ) -> (watch::Receiver<Leader>, JoinHandle<()>) {
        let (leader, followed) = watch::channel(Leader::Unknown);
        let leadership = Self {
            node,
            group,
            raft,
            metadata,
            leader,
            guesses: 0,
        };
        (followed, tokio::spawn(leadership.run()))
    }

    async fn run(mut self) {
        loop {
            match self.raft.group(self.group) {
                Some(group) => self.follow(&group).await,
                None => self.guess().await,
            }
        }
    }

    /// Until the replica is closed.
    async fn follow(&self, group: &Group) {
        let mut watch = group.watch_leadership();
        while let Some(current) = watch.changed().await {
            self.tell(match (current.is_leader, current.leader) {
                (true, _) => Leader::Here,
                (false, Some(node)) if node != self.node => Leader::Peer(node),
                _ => Leader::Unknown,
            });
        }
        self.tell(Leader::Unknown);
        sleep(STOPPED_PAUSE).await;
    }

    /// The voters in turns: a wrong one says so.
    async fn guess(&mut self) {
        let placement = self.metadata.directory().placement();
        let voters = placement.get(&self.group).map(|place| &place.voters);
        let others: Vec<NodeId> = voters
            .into_iter()
            .flatten()
            .copied()
            .filter(|node| *node != self.node)
            .collect();
        let guess = others.get(self.guesses % others.len().max(1));
        self.tell(guess.map_or(Leader::Unknown, |node| Leader::Peer(*node)));
        self.guesses = self.guesses.wrapping_add(1);
        let mut changes = self.metadata.changes();
        changes.mark_unchanged();
        // Whichever comes first.
        let _ = timeout(GUESS_LASTING, changes.changed()).await;
    }

    fn tell(&self, leader: Leader) {
        self.leader
            .send_if_modified(|known| std::mem::replace(known, leader) != leader);
    }
}

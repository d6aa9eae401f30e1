//! Who leads a group, whether it has a replica here or not.

use std::{sync::Arc, time::Duration};

use ringtail_metadata::Metadata;
use ringtail_proto::{GroupId, NodeId};
use ringtail_raft::{Group, RaftNode};
use ringtail_router::Leader;
use tokio::{
    sync::watch,
    task::JoinHandle,
    time::{sleep, timeout},
};

/// How long a node without a replica takes one voter for the leader before it asks another.
const GUESS_LASTING: Duration = Duration::from_secs(1);

/// Pause before a group that has stopped is looked at again.
const STOPPED_PAUSE: Duration = Duration::from_millis(100);

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
            let leader = match (current.is_leader, current.leader) {
                (true, _) => Leader::Here,
                (false, Some(node)) if node != self.node => Leader::Peer(node),
                _ => Leader::Unknown,
            };
            self.tell(leader);
        }
        self.tell(Leader::Unknown);
        // The group is taken from the table a moment after it has stopped; one that failed stays in it.
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

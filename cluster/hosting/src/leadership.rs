//! Who leads a group, whether it has a replica here or not.

use std::{sync::Arc, time::Duration};

use futures::{
    FutureExt as _,
    future::{BoxFuture, pending},
};
use ringtail_metadata::Metadata;
use ringtail_proto::{GroupId, NodeId};
use ringtail_raft::{Group, RaftNode};
use ringtail_router::{GroupLeadership, HintedLeadership, Leader, RaftLeadership};
use tokio::{
    sync::watch,
    task::JoinHandle,
    time::{sleep, timeout},
};

/// How often a node without a replica looks whether it has got one.
const REPLICA_LOOK_INTERVAL: Duration = Duration::from_secs(1);

/// Pause before a group that has stopped is looked at again.
const STOPPED_PAUSE: Duration = Duration::from_millis(100);

/// The leader that the replica here follows, or, without one, what the group's voters say.
#[derive(Clone)]
pub struct RouteLeadership {
    /// The replica's word; none without a replica.
    replica: watch::Receiver<Option<Leader>>,
    hinted: Arc<HintedLeadership>,
}

impl RouteLeadership {
    /// What the router follows, and the task that keeps it true.
    #[must_use]
    pub fn start(
        node: NodeId,
        group: GroupId,
        raft: Arc<RaftNode>,
        metadata: Metadata,
    ) -> (Self, JoinHandle<()>) {
        let (sender, replica) = watch::channel(None);
        let hinted = Arc::new(HintedLeadership::new(Vec::new()));
        let follower = Follower {
            node,
            group,
            raft,
            metadata,
            replica: sender,
            hinted: Arc::clone(&hinted),
        };
        (Self { replica, hinted }, tokio::spawn(follower.run()))
    }
}

impl GroupLeadership for RouteLeadership {
    fn leader(&self) -> Leader {
        self.replica
            .borrow()
            .unwrap_or_else(|| self.hinted.leader())
    }

    fn changed(&self, seen: Leader) -> BoxFuture<'static, ()> {
        let mut this = self.clone();
        async move {
            loop {
                let is_hinted = this.replica.borrow_and_update().is_none();
                if this.leader() != seen {
                    return;
                }
                tokio::select! {
                    changed = this.replica.changed() => if changed.is_err() {
                        // The node stops: nobody will say anything more.
                        pending::<()>().await;
                    },
                    () = this.hinted.changed(seen), if is_hinted => return,
                }
            }
        }
        .boxed()
    }

    fn missed(&self, asked: NodeId, told: Option<NodeId>) {
        self.hinted.missed(asked, told);
    }
}

/// Follows one group.
struct Follower {
    node: NodeId,
    group: GroupId,
    raft: Arc<RaftNode>,
    metadata: Metadata,
    replica: watch::Sender<Option<Leader>>,
    hinted: Arc<HintedLeadership>,
}

impl Follower {
    async fn run(self) {
        loop {
            match self.raft.group(self.group) {
                Some(group) => self.follow(&group).await,
                None => self.follow_voters().await,
            }
        }
    }

    /// Until the replica is closed.
    async fn follow(&self, group: &Group) {
        let leadership = RaftLeadership::new(self.node, group.clone());
        let mut changes = group.watch_leadership();
        while changes.changed().await.is_some() {
            self.tell(Some(leadership.leader()));
        }
        self.tell(Some(Leader::Unknown));
        // The group is taken from the table a moment after it has stopped; one that failed stays in it.
        sleep(STOPPED_PAUSE).await;
    }

    /// One of the voters leads; a wrong one says who.
    async fn follow_voters(&self) {
        let mut changes = self.metadata.changes();
        changes.mark_unchanged();
        let placement = self.metadata.directory().placement();
        let voters = placement.get(&self.group).map(|place| place.voters.clone());
        let mut others = voters.unwrap_or_default();
        others.retain(|node| *node != self.node);
        self.hinted.set_hosts(others);
        self.tell(None);
        // Whichever comes first.
        let _ = timeout(REPLICA_LOOK_INTERVAL, changes.changed()).await;
    }

    fn tell(&self, leader: Option<Leader>) {
        self.replica
            .send_if_modified(|known| std::mem::replace(known, leader) != leader);
    }
}

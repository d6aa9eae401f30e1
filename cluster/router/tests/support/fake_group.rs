//! A group whose leader, quorum and doubts the test decides.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use bytes::Bytes;
use futures::{FutureExt as _, future::BoxFuture};
use parking_lot::Mutex;
use ringtail_proto::{
    GroupId, NodeId, UnixMillis, Verdict,
    stored::{PartitionEntry, partition_entry::Body},
};
use ringtail_router::{Leader, Proposed, ReplicatedLog, RouteError};
use tokio::sync::watch;

use super::ring::NODES;

/// A group as its replicas would agree on it.
pub(crate) struct FakeGroup {
    pub(crate) group: GroupId,
    state: Mutex<GroupState>,
    /// Counts changes of leader and quorum.
    changes: watch::Sender<u64>,
    /// What each node believes.
    pub(crate) beliefs: BTreeMap<NodeId, watch::Sender<Leader>>,
}

#[derive(Default)]
struct GroupState {
    leader: Option<NodeId>,
    has_quorum: bool,
    /// So many of the next entries commit without anybody being told.
    doubts: usize,
    /// Entries in the leader's log that no quorum has yet.
    pending: Vec<(u64, PartitionEntry)>,
    /// What became of entries, by number.
    results: BTreeMap<u64, Result<Bytes, RouteError>>,
    next_number: u64,
    entries: Vec<PartitionEntry>,
    accepted: BTreeSet<u128>,
    duplicates: usize,
}

impl FakeGroup {
    pub(crate) fn new(group: GroupId) -> Arc<Self> {
        let nodes = (1..=NODES).map(NodeId);
        Arc::new(Self {
            group,
            state: Mutex::new(GroupState {
                has_quorum: true,
                ..GroupState::default()
            }),
            changes: watch::Sender::new(0),
            beliefs: nodes
                .map(|node| (node, watch::Sender::new(Leader::Unknown)))
                .collect(),
        })
    }

    /// Makes a node lead, or none, and lets everybody know.
    pub(crate) fn lead(&self, leader: Option<u64>) {
        let leader = leader.map(NodeId);
        {
            let mut state = self.state.lock();
            let group = self.group;
            // What no quorum had may be in the log of the next leader, or not.
            for (number, entry) in std::mem::take(&mut state.pending) {
                if number % 2 == 0 {
                    state.apply(&entry);
                }
                let message = "the leader changed".to_owned();
                let doubt = RouteError::InDoubt { group, message };
                state.results.insert(number, Err(doubt));
            }
            state.leader = leader;
        }
        self.changes.send_modify(|changes| *changes += 1);
        for (node, belief) in &self.beliefs {
            belief.send_replace(match leader {
                Some(leader) if leader == *node => Leader::Here,
                Some(leader) => Leader::Peer(leader),
                None => Leader::Unknown,
            });
        }
    }

    /// Lets one node believe in another leader than there is.
    pub(crate) fn mislead(&self, node: u64, leader: Leader) {
        self.beliefs[&NodeId(node)].send_replace(leader);
    }

    pub(crate) fn set_quorum(&self, has_quorum: bool) {
        {
            let mut state = self.state.lock();
            state.has_quorum = has_quorum;
            state.settle(self.group);
        }
        self.changes.send_modify(|changes| *changes += 1);
    }

    pub(crate) fn doubt_next(&self, entries: usize) {
        self.state.lock().doubts = entries;
    }

    /// Ids that were accepted; each once, or apply would have said so.
    pub(crate) fn accepted(&self) -> BTreeSet<u128> {
        self.state.lock().accepted.clone()
    }

    /// Events that came again.
    pub(crate) fn duplicates(&self) -> usize {
        self.state.lock().duplicates
    }

    pub(crate) fn entries(&self) -> usize {
        self.state.lock().entries.len()
    }

    /// Puts an entry in line at this node.
    fn propose(&self, node: NodeId, entry: PartitionEntry) -> u64 {
        let mut state = self.state.lock();
        let number = state.next_number;
        state.next_number += 1;
        if state.leader == Some(node) {
            state.pending.push((number, entry));
            state.settle(self.group);
        } else {
            let (group, leader) = (self.group, state.leader);
            let refusal = RouteError::NotLeader { group, leader };
            state.results.insert(number, Err(refusal));
        }
        number
    }

    fn stamp(&self) -> UnixMillis {
        let state = self.state.lock();
        UnixMillis(state.entries.last().map_or(0, |entry| entry.stamp_ms))
    }
}

impl GroupState {
    /// Commits and applies what is in line, in order, if there is a quorum.
    fn settle(&mut self, group: GroupId) {
        if !self.has_quorum {
            return;
        }
        for (number, entry) in std::mem::take(&mut self.pending) {
            let reply = self.apply(&entry);
            let is_doubtful = self.doubts > 0;
            self.doubts = self.doubts.saturating_sub(1);
            let message = "the leader stepped down".to_owned();
            let result = match is_doubtful {
                true => Err(RouteError::InDoubt { group, message }),
                false => Ok(reply),
            };
            self.results.insert(number, result);
        }
    }

    fn apply(&mut self, entry: &PartitionEntry) -> Bytes {
        let last = self.entries.last().map_or(0, |entry| entry.stamp_ms);
        assert!(
            entry.stamp_ms >= last && entry.stamp_ms > 0,
            "the stamp fell"
        );
        self.entries.push(entry.clone());
        let mut reply = Vec::new();
        if let Some(Body::Events(batch)) = &entry.body {
            for event in batch.sites.iter().flat_map(|site| &site.events) {
                let is_new = self.accepted.insert(u128::from(event.id_low));
                self.duplicates += usize::from(!is_new);
                let verdict = match is_new {
                    true => Verdict::Accepted,
                    false => Verdict::Duplicate,
                };
                reply.push(verdict.code());
            }
        }
        reply.into()
    }
}

/// One node's replica of a group.
pub(crate) struct FakeReplica {
    pub(crate) node: NodeId,
    pub(crate) group: Arc<FakeGroup>,
}

struct FakeProposal {
    group: Arc<FakeGroup>,
    number: u64,
    reply: Option<Bytes>,
}

impl ReplicatedLog for FakeReplica {
    fn propose(&self, entry: Bytes) -> BoxFuture<'static, Result<Box<dyn Proposed>, RouteError>> {
        let proposal = FakeProposal {
            number: self
                .group
                .propose(self.node, PartitionEntry::from_log(entry).unwrap()),
            group: Arc::clone(&self.group),
            reply: None,
        };
        async { Ok(Box::new(proposal) as Box<dyn Proposed>) }.boxed()
    }

    fn stamp(&self) -> UnixMillis {
        self.group.stamp()
    }
}

impl Proposed for FakeProposal {
    fn committed(&mut self) -> BoxFuture<'_, Result<(), RouteError>> {
        async move {
            let mut changes = self.group.changes.subscribe();
            loop {
                changes.borrow_and_update();
                let result = self.group.state.lock().results.remove(&self.number);
                if let Some(result) = result {
                    self.reply = Some(result?);
                    return Ok(());
                }
                changes.changed().await.unwrap();
            }
        }
        .boxed()
    }

    fn applied(self: Box<Self>) -> BoxFuture<'static, Result<Bytes, RouteError>> {
        async move { Ok(self.reply.unwrap()) }.boxed()
    }
}

//! What Raft promises, seen from outside: one log that all replicas apply, in which an earlier leader never follows on a
//! later one. Leaders are ordered by term and node: of two in one term, the one of the higher id comes later.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
    time::Duration,
};

use ringtail_proto::{GroupId, LogIndex, NodeId};
use ringtail_raft::{Body, Committed, read_entries};
use tokio::time::sleep;

use super::ring::Ring;

/// How often the logs are read.
const INTERVAL: Duration = Duration::from_millis(100);
const READ_BYTES_MAX: u64 = 64 << 20;

/// Notes who leads.
#[derive(Default)]
pub(crate) struct Leaders {
    seen: BTreeSet<(GroupId, u64, NodeId)>,
}

impl Leaders {
    /// Looks at all nodes that run.
    pub(crate) fn look(&mut self, ring: &Ring) {
        for (_, node) in ring.running() {
            for group in node.raft.groups() {
                let now = group.watch_leadership().current();
                let (id, term) = (group.id(), now.term);
                if now.is_leader && self.seen.insert((id, term, node.node)) {
                    ring.note(format!(
                        "node {} leads group {id} in term {term}",
                        node.node
                    ));
                }
            }
        }
    }
}

/// Reads what replicas have applied and compares it, entry by entry.
pub(crate) struct Logs {
    ring: Arc<Ring>,
    /// The first replica's word on an entry.
    known: HashMap<(GroupId, LogIndex), Seen>,
    /// How far a replica was read, by the host and the group.
    read: BTreeMap<(u64, GroupId), LogIndex>,
}

#[derive(Clone, PartialEq, Eq)]
struct Seen {
    term: u64,
    leader: NodeId,
    hash: blake3::Hash,
}

impl Logs {
    pub(crate) fn new(ring: Arc<Ring>) -> Self {
        Self {
            ring,
            known: HashMap::new(),
            read: BTreeMap::new(),
        }
    }

    /// Runs until it is dropped.
    pub(crate) async fn run(mut self) {
        loop {
            sleep(INTERVAL).await;
            self.look().await;
        }
    }

    async fn look(&mut self) {
        for (host, node) in self.ring.running() {
            for group in node.raft.groups() {
                let (id, Some(applied)) = (group.id(), group.applied()) else {
                    continue;
                };
                let from = self.read.get(&(host, id)).map_or(1, |read| read.0 + 1);
                // A replica that was opened anew says its entries again.
                let from = from.min(applied.index.0 + 1);
                let entries = read_entries(
                    node.raft.log(),
                    id,
                    LogIndex(from),
                    applied.index,
                    READ_BYTES_MAX,
                );
                // What is purged between two looks stays unseen here; its effect does not.
                for entry in entries.await.unwrap_or_default() {
                    self.compare(host, id, &entry);
                }
                self.read.insert((host, id), applied.index);
            }
        }
    }

    fn compare(&mut self, host: u64, group: GroupId, entry: &Committed) {
        let position = entry.position;
        let seen = Seen {
            term: position.term,
            leader: position.node,
            hash: hash_of(&entry.body),
        };
        let short: String = seen.hash.to_hex().chars().take(8).collect();
        self.ring.note(format!(
            "host {host} applied {group}/{} of term {} {short}",
            position.index, position.term
        ));
        let known = self.known.entry((group, position.index));
        let known = known.or_insert_with(|| seen.clone());
        let is_same = *known == seen;
        let known_term = known.term;
        let before = LogIndex(position.index.0.saturating_sub(1));
        if let Some(before) = self.known.get(&(group, before))
            && (before.term, before.leader) > (seen.term, seen.leader)
        {
            self.ring.violated(format!(
                "entry {} of group {group}, of term {} and node {}, follows on a later leader's",
                position.index, seen.term, seen.leader
            ));
        }
        if !is_same {
            self.ring.violated(format!(
                "entry {} of group {group} is of term {} on one node and of term {} on host {host}, or differs in content",
                position.index, known_term, seen.term
            ));
        }
    }
}

fn hash_of(body: &Body) -> blake3::Hash {
    match body {
        Body::Blank => blake3::hash(b"blank"),
        Body::Command(bytes) => blake3::hash(bytes),
        Body::Membership(bytes) => blake3::hash(bytes),
    }
}

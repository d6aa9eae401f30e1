//! Leadership goes to others before this node goes, so that nobody has to find out that it is gone.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use futures::{StreamExt as _, stream};
use ringtail_metadata::{Metadata, NodeState};
use ringtail_peers::{PeerState, Peers};
use ringtail_proto::{GroupId, LogIndex, NodeId};
use ringtail_raft::{Group, RaftNode};
use tokio::time::timeout;

use super::Vitals;

/// Groups handed over at once.
const GROUPS_AT_ONCE_MAX: usize = 8;
/// How long an heir may take: it has to flush what it lacks, and to win an election.
const ATTEMPT_WAIT_MAX: Duration = Duration::from_secs(2);
/// Heirs that a group is offered to.
const ATTEMPTS_MAX: usize = 3;
/// Entries that an heir may lack.
const LAG_ENTRIES_MAX: u64 = 1_000;

/// Hands over what this node leads.
pub(crate) struct Handover {
    pub(crate) node: NodeId,
    pub(crate) raft: Arc<RaftNode>,
    pub(crate) metadata: Metadata,
    pub(crate) peers: Peers,
    pub(crate) vitals: Arc<Vitals>,
}

impl Handover {
    /// Ends once this node leads nothing that somebody else could lead, or after `longest`.
    pub(crate) async fn run(&self, longest: Duration) {
        let led = self.led();
        if led.is_empty() {
            return;
        }
        let count = led.len();
        let giving = stream::iter(led)
            .map(|group| async move { self.give_away(&group).await })
            .buffer_unordered(GROUPS_AT_ONCE_MAX)
            .collect::<()>();
        let is_in_time = timeout(longest, giving).await.is_ok();
        let kept: Vec<GroupId> = self.led().iter().map(Group::id).collect();
        tracing::info!(groups = count, ?kept, is_in_time, "leadership handed over");
    }

    fn led(&self) -> Vec<Group> {
        let groups = self.raft.groups().into_iter();
        groups.filter(Group::is_leader).collect()
    }

    async fn give_away(&self, group: &Group) {
        let mut asked = BTreeSet::new();
        while group.is_leader() && asked.len() < ATTEMPTS_MAX {
            let Some(heir) = self.heir(group, &asked) else {
                return;
            };
            asked.insert(heir);
            if let Err(error) = group.transfer_leader(heir).await {
                tracing::warn!(group = %group.id(), %heir, %error, "leadership stays here");
                return;
            }
            // One that takes longer may still come to lead; the next one is asked all the same.
            let _ = timeout(ATTEMPT_WAIT_MAX, self.somebody_else_leads(group)).await;
        }
    }

    async fn somebody_else_leads(&self, group: &Group) {
        let mut leadership = group.watch_leadership();
        while let Some(current) = leadership.changed().await {
            if current.leader.is_some_and(|leader| leader != self.node) {
                return;
            }
        }
    }

    fn heir(&self, group: &Group, asked: &BTreeSet<NodeId>) -> Option<NodeId> {
        let directory = self.metadata.directory();
        let is_able = |node: NodeId| {
            let is_active = directory
                .node(node)
                .is_some_and(|node| node.state == NodeState::Active);
            // One that stops as well would decline, and leave the group without anybody until it has gone.
            let is_fit = self.peers.state(node) == PeerState::Reached && self.vitals.may_lead(node);
            is_active && is_fit && !asked.contains(&node)
        };
        let matched: BTreeMap<NodeId, LogIndex> = group
            .replication()?
            .into_iter()
            .filter_map(|(node, matched)| Some((node, matched?)))
            .filter(|(node, _)| is_able(*node))
            .collect();
        let last = group.metrics().last.unwrap_or_default();
        let voters = group.members().voters;
        choose(group.id(), last, &matched, &voters)
    }
}

/// Of the voters that lack little, in turns, so that no single one inherits everything; else the one that lacks least.
fn choose(
    group: GroupId,
    last: LogIndex,
    matched: &BTreeMap<NodeId, LogIndex>,
    voters: &BTreeSet<NodeId>,
) -> Option<NodeId> {
    let voting = matched.iter().filter(|(node, _)| voters.contains(node));
    let close: Vec<NodeId> = voting
        .clone()
        .filter(|(_, index)| last.0.saturating_sub(index.0) <= LAG_ENTRIES_MAX)
        .map(|(node, _)| *node)
        .collect();
    let turn = close.get(group.0 as usize % close.len().max(1)).copied();
    turn.or_else(|| {
        voting
            .max_by_key(|(_, index)| **index)
            .map(|(node, _)| *node)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(group: u32, matched: &[(u64, u64)], voters: &[u64], expect: Option<u64>) {
        let known = matched
            .iter()
            .map(|(node, index)| (NodeId(*node), LogIndex(*index)));
        let voters = voters.iter().copied().map(NodeId).collect();
        let chosen = choose(GroupId(group), LogIndex(5_000), &known.collect(), &voters);
        assert_eq!(chosen, expect.map(NodeId), "group {group}: {matched:?}");
    }

    #[test]
    fn groups_are_shared_out_among_voters_that_lack_little() {
        let matched = [(2, 5_000), (3, 4_990), (4, 5_000)];
        check(0, &matched, &[1, 2, 3], Some(2));
        check(1, &matched, &[1, 2, 3], Some(3));
        check(2, &matched, &[1, 2, 3], Some(2));
    }

    #[test]
    fn one_that_lacks_much_is_chosen_only_when_all_do() {
        check(1, &[(2, 5_000), (3, 100)], &[1, 2, 3], Some(2));
        check(1, &[(2, 300), (3, 100)], &[1, 2, 3], Some(2));
        check(1, &[(4, 5_000)], &[1, 2, 3], None);
        check(1, &[], &[1], None);
    }
}

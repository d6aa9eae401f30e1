//! A ring's life: nodes join, are drained, leave, crash and come back in any order, while the planner and the keepers
//! do their work. Groups are models; the metadata, the plan and the steps are the real ones.
//!
//! A failure prints its events; `PROPTEST_CASES=10000` runs more of them.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test may fail by panic"
)]

mod support;

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use proptest::{collection::vec, prelude::*};
use ringtail_metadata::{
    ClusterId, Command, GroupPlacement, JoinAttempt, JoinTokenId, Limits, METADATA_GROUP,
    MetadataError, NodeAddresses, NodeState, Outcome,
    reconcile::{
        LogBounds, Observed, PlanOptions, ReconcilePlan, Step, StepOptions, drain_progress,
        next_step, plan,
    },
};
use ringtail_proto::{GroupId, LogIndex, NodeId, UnixMillis};
use support::{Replica, hash};

const GROUPS: u32 = 6;
const LONG: Duration = Duration::from_secs(60);
const LAST: LogIndex = LogIndex(1_000_000);

type Nodes = BTreeSet<NodeId>;

#[derive(Clone, Copy, Debug)]
enum Event {
    Join,
    Drain(usize),
    TakeBack(usize),
    Remove(usize),
    RemoveByForce(usize),
    Crash(usize),
    Restart(usize),
    /// The leader of a group is gone in the middle of its next change of voters.
    AbandonNextChange(usize),
    Time(usize),
}

fn events() -> impl Strategy<Value = Vec<Event>> {
    let event = prop_oneof![
        4 => Just(Event::Join),
        2 => any::<usize>().prop_map(Event::Drain),
        1 => any::<usize>().prop_map(Event::TakeBack),
        2 => any::<usize>().prop_map(Event::Remove),
        1 => any::<usize>().prop_map(Event::RemoveByForce),
        3 => any::<usize>().prop_map(Event::Crash),
        3 => any::<usize>().prop_map(Event::Restart),
        2 => any::<usize>().prop_map(Event::AbandonNextChange),
        6 => (1..12_usize).prop_map(Event::Time),
    ];
    vec(event, 1..60)
}

/// A group as Raft would run it.
#[derive(Clone, Debug, Default)]
struct Group {
    voters: Nodes,
    /// The voters to be of a change that is half done: majorities of both are needed.
    next: Option<Nodes>,
    learners: Nodes,
    leader: Option<NodeId>,
    /// Members that have nearly everything.
    close: Nodes,
    abandons: bool,
}

impl Group {
    fn configurations(&self) -> Vec<&Nodes> {
        [Some(&self.voters), self.next.as_ref()]
            .into_iter()
            .flatten()
            .collect()
    }

    fn all_voters(&self) -> Nodes {
        self.configurations()
            .into_iter()
            .flatten()
            .copied()
            .collect()
    }

    fn can_agree(&self, up: &Nodes) -> bool {
        self.configurations()
            .iter()
            .all(|voters| 2 * voters.intersection(up).count() > voters.len())
    }
}

struct World {
    metadata: Replica,
    up: Nodes,
    groups: BTreeMap<GroupId, Group>,
    moves: usize,
    tokens: u64,
}

impl World {
    fn new() -> Self {
        let mut metadata = Replica::new();
        let first = Nodes::from([NodeId(1)]);
        let init = Command::InitCluster {
            cluster: ClusterId(1),
            groups: GROUPS,
            limits: Limits::default(),
        };
        metadata.run(init).unwrap();
        let register = Command::RegisterNode {
            node: NodeId(1),
            addresses: NodeAddresses::default(),
        };
        metadata.run(register).unwrap();
        let alone = Group {
            voters: first.clone(),
            leader: Some(NodeId(1)),
            close: first.clone(),
            ..Group::default()
        };
        Self {
            metadata,
            up: first,
            groups: (0..=GROUPS)
                .map(|group| (GroupId(group), alone.clone()))
                .collect(),
            moves: 0,
            tokens: 0,
        }
    }

    /// What the metadata say, if they can be changed at all.
    fn change(&mut self, command: Command) -> Option<Result<Outcome, MetadataError>> {
        let can_agree = self.groups[&METADATA_GROUP].can_agree(&self.up);
        can_agree.then(|| self.metadata.run(command))
    }

    fn place(&self, group: GroupId) -> GroupPlacement {
        self.metadata.directory().placement()[&group].clone()
    }

    fn members(&self) -> Vec<NodeId> {
        let nodes = self.metadata.directory().nodes();
        let members = nodes.iter().filter(|node| node.is_member());
        members.map(|node| node.id).collect()
    }

    fn pick(&self, number: usize) -> NodeId {
        let members = self.members();
        members[number % members.len()]
    }

    fn set_state(&mut self, node: NodeId, state: NodeState, is_forced: bool) {
        let command = Command::SetNodeState {
            node,
            state,
            is_forced,
        };
        if let Some(Ok(_)) = self.change(command)
            && state == NodeState::Left
        {
            self.crash(node);
        }
    }

    fn crash(&mut self, node: NodeId) {
        self.up.remove(&node);
        for group in self.groups.values_mut() {
            group.close.remove(&node);
            if group.leader == Some(node) {
                group.leader = None;
            }
        }
    }

    fn join(&mut self) {
        if self.members().len() >= 8 {
            return;
        }
        let token = Command::CreateJoinToken {
            name: String::new(),
            secret_hash: hash(1),
            expires: UnixMillis(100_000_000),
        };
        if self.change(token).is_none() {
            return;
        }
        self.tokens += 1;
        let join = Command::JoinNode {
            token: JoinTokenId(self.tokens),
            secret_hash: hash(1),
            attempt: JoinAttempt([1; 16]),
            addresses: NodeAddresses {
                peer: format!("10.0.0.1:{}", 1_000 + self.tokens),
                ..NodeAddresses::default()
            },
            zone: String::new(),
            feature_level: 0,
        };
        if let Some(Ok(Outcome::Node(node))) = self.change(join) {
            self.up.insert(node);
        }
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Join => self.join(),
            Event::Drain(number) => self.set_state(self.pick(number), NodeState::Draining, false),
            Event::TakeBack(number) => self.set_state(self.pick(number), NodeState::Active, false),
            Event::Remove(number) => self.set_state(self.pick(number), NodeState::Left, false),
            Event::RemoveByForce(number) => {
                self.set_state(self.pick(number), NodeState::Left, true);
            }
            Event::Crash(number) => self.crash(self.pick(number)),
            Event::Restart(number) => _ = self.up.insert(self.pick(number)),
            Event::AbandonNextChange(number) => {
                let group = GroupId((number % (GROUPS as usize + 1)) as u32);
                self.groups.get_mut(&group).unwrap().abandons = true;
            }
            Event::Time(ticks) => {
                for _ in 0..ticks {
                    self.tick();
                }
            }
        }
        self.check();
    }

    /// Everybody looks once. Returns false when nobody had anything to do.
    fn tick(&mut self) -> bool {
        let mut is_busy = self.reconcile();
        for id in (0..=GROUPS).map(GroupId) {
            is_busy |= self.elect(id);
            is_busy |= self.catch_up(id);
            is_busy |= self.keep(id);
            self.check();
        }
        is_busy
    }

    fn plan(&self) -> ReconcilePlan {
        let directory = self.metadata.directory();
        plan(
            &directory.nodes(),
            &directory.placement(),
            &PlanOptions::default(),
        )
    }

    fn reconcile(&mut self) -> bool {
        let mut is_busy = false;
        for node in self.metadata.directory().nodes() {
            if node.state == NodeState::Joining && self.up.contains(&node.id) {
                self.set_state(node.id, NodeState::Active, false);
                is_busy = true;
            }
        }
        let plan = self.plan();
        let on_their_way = |world: &Self| world.plan().unsettled.len();
        let before = on_their_way(self);
        for change in plan.next {
            let command = Command::MoveGroup {
                group: change.group,
                target: change.target,
            };
            if let Some(result) = self.change(command) {
                result.unwrap();
                self.moves += 1;
                is_busy = true;
            }
        }
        let after = on_their_way(self);
        assert!(
            after <= 4.max(before),
            "{before} groups on their way, then {after}"
        );
        is_busy
    }

    fn elect(&mut self, id: GroupId) -> bool {
        let up = self.up.clone();
        let group = self.groups.get_mut(&id).unwrap();
        let voters = group.all_voters();
        let leads = group.leader.is_some_and(|leader| voters.contains(&leader));
        if leads || !group.can_agree(&up) {
            return false;
        }
        // Whoever holds everything wins; among those that are up there is one, or all have come back.
        let mut candidates: Vec<NodeId> = voters.intersection(&up).copied().collect();
        candidates.sort_by_key(|node| !group.close.contains(node));
        group.leader = candidates.first().copied();
        group.close.extend(group.leader);
        true
    }

    fn catch_up(&mut self, id: GroupId) -> bool {
        let group = self.groups.get_mut(&id).unwrap();
        if group.leader.is_none() || !group.can_agree(&self.up) {
            return false;
        }
        let members: Nodes = group.all_voters().union(&group.learners).copied().collect();
        let mut late = members
            .iter()
            .filter(|node| self.up.contains(node) && !group.close.contains(node));
        match late.next().copied() {
            Some(node) => group.close.insert(node),
            None => false,
        }
    }

    fn keep(&mut self, id: GroupId) -> bool {
        let group = self.groups[&id].clone();
        let Some(leader) = group.leader else {
            return false;
        };
        let place = self.place(id);
        let nodes = self.metadata.directory().nodes();
        let draining = nodes
            .iter()
            .filter(|node| node.state == NodeState::Draining);
        let linked = nodes
            .iter()
            .filter(|node| node.is_member() && self.up.contains(&node.id));
        let observed = Observed {
            group: id,
            node: leader,
            voters: group.all_voters(),
            learners: group.learners.clone(),
            changing_for: group.next.is_some().then_some(LONG),
            matched: group.close.iter().map(|node| (*node, LAST)).collect(),
            log: LogBounds {
                purged: LogIndex(1),
                last: LAST,
            },
            target: place.target.clone(),
            hosts: place.hosts.iter().copied().collect(),
            is_settled: place.is_settled(id),
            unfit: draining.map(|node| node.id).collect(),
            links: linked
                .filter(|node| node.id != leader)
                .map(|node| (node.id, LONG))
                .collect(),
            since_transfer: LONG,
        };
        match next_step(&observed, &StepOptions::default()) {
            Some(step) => self.take(id, &place, step),
            None => false,
        }
    }

    fn take(&mut self, id: GroupId, place: &GroupPlacement, step: Step) -> bool {
        let up = self.up.clone();
        let group = self.groups.get_mut(&id).unwrap();
        let can_agree = group.can_agree(&up);
        match step {
            Step::Settle(voters) => {
                assert_eq!((&voters, &group.next), (&group.voters, &None));
                let command = Command::SettleGroup {
                    group: id,
                    revision: place.revision,
                    voters: voters.into_iter().collect(),
                };
                return self.change(command).is_some_and(|result| result.is_ok());
            }
            // Nothing that needs the others' consent comes about without it.
            _ if !can_agree => return false,
            Step::TransferLeader(node) => {
                assert!(up.contains(&node) && group.voters.contains(&node));
                group.leader = Some(node);
            }
            Step::AddLearner(node) => {
                assert!(
                    place.hosts.contains(&node),
                    "node {node} does not host group {id}"
                );
                assert!(group.next.is_none() && group.learners.insert(node));
            }
            Step::RemoveLearner(node) => {
                assert!(group.next.is_none() && group.learners.remove(&node));
                group.close.remove(&node);
            }
            Step::ChangeVoters {
                voters,
                keep_learners,
            } => {
                let leader = group.leader.unwrap();
                assert!(voters.contains(&leader), "group {id} would lose its leader");
                let of_new = voters.intersection(&up).count();
                assert!(
                    2 * of_new > voters.len(),
                    "group {id} could not work as {voters:?}"
                );
                let before = group.all_voters();
                let up_before: Nodes = before.intersection(&up).copied().collect();
                let removed = up_before.difference(&voters).count();
                assert!(
                    2 * removed <= up_before.len(),
                    "{removed} of {up_before:?} go at once"
                );
                for node in voters.difference(&before) {
                    assert!(group.learners.contains(node) && group.close.contains(node));
                }
                if group.abandons {
                    group.abandons = false;
                    group.learners.retain(|node| !voters.contains(node));
                    // From a change half done, the next one starts where that one was going.
                    if let Some(next) = group.next.take() {
                        group.voters = next;
                    }
                    group.next = Some(voters);
                    group.leader = None;
                    return true;
                }
                if keep_learners {
                    group.learners.extend(before.difference(&voters));
                } else {
                    group.close.retain(|node| voters.contains(node));
                }
                group.learners.retain(|node| !voters.contains(node));
                group.voters = voters;
                group.next = None;
            }
        }
        true
    }

    /// What holds at every moment.
    fn check(&self) {
        let members: Nodes = self.members().into_iter().collect();
        for (id, group) in &self.groups {
            let place = self.place(*id);
            for voters in group.configurations() {
                let remaining = voters.intersection(&members).count();
                assert!(
                    2 * remaining > voters.len(),
                    "group {id} is lost: {group:?} of {members:?}"
                );
            }
            if *id != METADATA_GROUP {
                let hosts: Nodes = place.hosts.iter().copied().collect();
                let voters = group.all_voters();
                assert!(
                    voters.is_subset(&hosts),
                    "a voter of group {id} closed it: {group:?} {place:?}"
                );
            }
        }
    }

    /// Everybody comes back, and nobody disturbs any more.
    fn come_to_rest(&mut self) -> usize {
        self.up.extend(self.members());
        for ticks in 0..2_000 {
            if !self.tick() {
                return ticks;
            }
        }
        panic!("no rest: {} {:#?}", self.plan(), self.groups);
    }

    fn check_at_rest(&self) {
        let plan = self.plan();
        assert!(plan.is_done(), "{plan}");
        let directory = self.metadata.directory();
        let nodes = directory.nodes();
        let mut loads: BTreeMap<NodeId, usize> = BTreeMap::new();
        let leaders = self
            .groups
            .iter()
            .map(|(id, group)| (*id, group.leader.unwrap()))
            .collect();
        for (id, group) in &self.groups {
            let place = self.place(*id);
            let target: Nodes = place.target.iter().copied().collect();
            assert_eq!((&group.voters, &group.next), (&target, &None), "group {id}");
            assert_eq!(group.leader, place.preferred(), "group {id}");
            let expect: Nodes = match *id {
                METADATA_GROUP => self
                    .members()
                    .into_iter()
                    .filter(|node| !target.contains(node))
                    .collect(),
                _ => Nodes::new(),
            };
            assert_eq!(group.learners, expect, "group {id}");
            if *id != METADATA_GROUP {
                target
                    .iter()
                    .for_each(|node| *loads.entry(*node).or_default() += 1);
            }
        }
        let active: Vec<_> = nodes.iter().filter(|node| node.is_active()).collect();
        let replicas = if active.len() < 3 { 1 } else { 3 };
        let most = (GROUPS as usize * replicas * 125).div_ceil(100 * active.len());
        for (node, load) in loads {
            assert!(load <= most, "node {node} holds {load}, at most {most}");
        }
        for node in nodes.iter().filter(|node| !node.is_active()) {
            let left = drain_progress(node.id, &directory.placement(), &leaders);
            assert!(left.is_done(), "node {} is {}: {left}", node.id, node.state);
        }
    }
}

#[test]
fn a_ring_grows_to_three_and_shrinks_again() {
    let mut world = World::new();
    world.join();
    world.join();
    world.come_to_rest();
    world.check_at_rest();
    let replicas = |world: &World| {
        world
            .groups
            .values()
            .map(|group| group.voters.len())
            .collect::<Vec<_>>()
    };
    assert_eq!(replicas(&world), [3; GROUPS as usize + 1]);
    world.set_state(NodeId(1), NodeState::Draining, false);
    world.come_to_rest();
    world.check_at_rest();
    world.set_state(NodeId(1), NodeState::Left, false);
    assert_eq!(world.members(), [NodeId(2), NodeId(3)]);
    assert_eq!(replicas(&world), [1; GROUPS as usize + 1]);
    world.come_to_rest();
    world.check_at_rest();
}

proptest! {
    #[test]
    fn whatever_happens_the_ring_comes_to_rest(events in events()) {
        let mut world = World::new();
        for event in &events {
            world.happen(*event);
        }
        world.come_to_rest();
        world.check_at_rest();
        // Each event changes the set of nodes at most once, and each set sends a group somewhere at most a few times.
        let most = 2 * (events.len() + 2) * (GROUPS as usize + 1);
        prop_assert!(world.moves <= most, "{} moves, at most {}", world.moves, most);
    }
}

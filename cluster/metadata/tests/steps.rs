//! The keeper's steps: from every state to every target, and never a group that cannot work.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test may fail by panic"
)]

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use ringtail_metadata::reconcile::{LogBounds, Observed, Step, StepOptions, next_step};
use ringtail_proto::{GroupId, LogIndex, NodeId};

const PARTITION: GroupId = GroupId(7);
const METADATA: GroupId = GroupId(0);
const LONG: Duration = Duration::from_secs(60);
const LAST: LogIndex = LogIndex(10_000);

type Nodes = BTreeSet<NodeId>;

/// A group whose members obey at once; nodes that are down do nothing.
#[derive(Clone, Debug)]
struct Model {
    group: GroupId,
    leader: NodeId,
    voters: Nodes,
    learners: Nodes,
    target: Vec<NodeId>,
    hosts: Nodes,
    is_settled: bool,
    up: Nodes,
    close: Nodes,
    unfit: Nodes,
}

impl Model {
    fn observed(&self) -> Observed {
        let others = self.up.iter().filter(|node| **node != self.leader);
        let members = self.voters.union(&self.learners);
        Observed {
            group: self.group,
            node: self.leader,
            voters: self.voters.clone(),
            learners: self.learners.clone(),
            changing_for: None,
            matched: members
                .filter(|node| self.close.contains(node))
                .map(|node| (*node, LAST))
                .collect(),
            log: LogBounds {
                purged: LogIndex(5_000),
                last: LAST,
            },
            target: self.target.clone(),
            hosts: self.hosts.clone(),
            is_settled: self.is_settled,
            unfit: self.unfit.clone(),
            links: others.map(|node| (*node, LONG)).collect(),
            since_transfer: LONG,
        }
    }

    fn is_up(&self, node: &NodeId) -> bool {
        self.up.contains(node)
    }

    fn is_ready(&self, node: &NodeId) -> bool {
        *node == self.leader || (self.is_up(node) && self.close.contains(node))
    }

    fn take(&mut self, step: &Step) {
        match step {
            Step::AddLearner(node) => {
                assert!(self.hosts.contains(node), "{node} would not take the group");
                assert!(!self.voters.contains(node) && self.learners.insert(*node));
            }
            Step::RemoveLearner(node) => assert!(self.learners.remove(node)),
            Step::TransferLeader(node) => {
                assert!(self.voters.contains(node) && self.is_ready(node), "{node}");
                let is_forced = !self.target.contains(&self.leader);
                assert!(
                    is_forced || !self.unfit.contains(node),
                    "{node} should not lead"
                );
                self.leader = *node;
            }
            Step::ChangeVoters {
                voters,
                keep_learners,
            } => self.change(voters, *keep_learners),
            Step::Settle(voters) => {
                assert_eq!((voters, self.is_settled), (&self.voters, false));
                self.is_settled = true;
                if self.group != METADATA {
                    self.hosts = voters.clone();
                }
            }
        }
    }

    /// Whoever is up and a member comes close.
    fn catch_up(&mut self) {
        let members = self.voters.union(&self.learners);
        let up: Vec<NodeId> = members.filter(|node| self.is_up(node)).copied().collect();
        self.close.extend(up);
    }

    fn change(&mut self, voters: &Nodes, keep_learners: bool) {
        let up: Nodes = self
            .voters
            .iter()
            .filter(|node| self.is_up(node))
            .copied()
            .collect();
        assert!(2 * up.len() > self.voters.len(), "nobody could agree");
        let removed = up.difference(voters).count();
        assert!(
            2 * removed <= up.len(),
            "{removed} of {} that are up go",
            up.len()
        );
        assert!(voters.contains(&self.leader), "the leader would go");
        for node in voters.difference(&self.voters) {
            assert!(
                self.learners.contains(node) && self.is_ready(node),
                "{node} is not ready"
            );
        }
        let ready = voters.iter().filter(|node| self.is_ready(node)).count();
        assert!(2 * ready > voters.len(), "{voters:?} could not work");
        if keep_learners {
            let former: Vec<NodeId> = self.voters.difference(voters).copied().collect();
            self.learners.extend(former);
        }
        self.learners.retain(|node| !voters.contains(node));
        self.voters = voters.clone();
    }

    /// Takes steps until there is none; returns how many.
    fn run(&mut self) -> Vec<Step> {
        let begin = self.clone();
        let mut steps = Vec::new();
        self.catch_up();
        while let Some(step) = next_step(&self.observed(), &StepOptions::default()) {
            self.take(&step);
            self.catch_up();
            steps.push(step);
            assert!(steps.len() < 40, "no end from {begin:#?}: {steps:#?}");
        }
        steps
    }

    fn assert_arrived(&self) {
        let target: Nodes = self.target.iter().copied().collect();
        assert_eq!(self.voters, target, "{self:#?}");
        let learners: Nodes = match self.group {
            METADATA => self.hosts.difference(&target).copied().collect(),
            _ => Nodes::new(),
        };
        assert_eq!(self.learners, learners, "{self:#?}");
        assert!(self.is_settled, "{self:#?}");
        let target = self.target.iter();
        let fit = target.filter(|node| !self.unfit.contains(node)).copied();
        let fit: Vec<NodeId> = fit.collect();
        if self.unfit.is_empty() {
            assert_eq!(fit.first(), Some(&self.leader), "{self:#?}");
        } else {
            assert!(fit.is_empty() || fit.contains(&self.leader), "{self:#?}");
        }
    }
}

fn node(id: u64) -> NodeId {
    NodeId(id)
}

fn nodes(ids: impl IntoIterator<Item = u64>) -> Nodes {
    ids.into_iter().map(NodeId).collect()
}

/// All sets of the nodes `1..=count`, the empty one included.
fn subsets(count: u64) -> Vec<Nodes> {
    (0..1_u64 << count)
        .map(|bits| nodes((1..=count).filter(|id| bits & (1 << (id - 1)) != 0)))
        .collect()
}

/// Every group of `count` nodes on its way to every target, led by each of its voters.
fn models(group: GroupId, count: u64) -> impl Iterator<Item = Model> {
    let all = subsets(count);
    let targets: Vec<Vec<NodeId>> = all
        .iter()
        .filter(|nodes| nodes.len() % 2 == 1)
        .flat_map(|nodes| {
            let nodes: Vec<NodeId> = nodes.iter().copied().collect();
            (0..nodes.len()).map(move |first| {
                let mut target = nodes.clone();
                target.rotate_left(first);
                target
            })
        })
        .collect();
    let voters = all.clone().into_iter().filter(|voters| !voters.is_empty());
    voters.flat_map(move |voters| {
        let (targets, all) = (targets.clone(), all.clone());
        voters.clone().into_iter().flat_map(move |leader| {
            let (voters, all) = (voters.clone(), all.clone());
            targets.clone().into_iter().flat_map(move |target| {
                let rest: Nodes = nodes(1..=count).difference(&voters).copied().collect();
                let few: Nodes = rest.iter().take(1).copied().collect();
                let learners = BTreeSet::from([Nodes::new(), few, rest]);
                let (voters, all) = (voters.clone(), all.clone());
                learners.into_iter().map(move |learners| Model {
                    group,
                    leader,
                    voters: voters.clone(),
                    learners,
                    target: target.clone(),
                    hosts: all.last().unwrap().clone(),
                    is_settled: false,
                    up: all.last().unwrap().clone(),
                    close: voters.clone(),
                    unfit: Nodes::new(),
                })
            })
        })
    })
}

#[test]
fn every_state_leads_to_every_target() {
    for group in [PARTITION, METADATA] {
        let mut count = 0;
        for mut model in models(group, 5) {
            model.run();
            model.assert_arrived();
            count += 1;
        }
        assert!(count > 8_000, "{count} models");
    }
}

#[test]
fn whoever_is_down_nothing_breaks_and_the_way_goes_on_when_they_are_back() {
    for group in [PARTITION, METADATA] {
        for model in models(group, 4) {
            for up in subsets(4) {
                if !up.contains(&model.leader) {
                    continue;
                }
                let mut model = model.clone();
                model.up = up;
                model.run();
                model.up = nodes(1..=4);
                model.close = model.voters.clone();
                model.run();
                model.assert_arrived();
            }
        }
    }
}

#[test]
fn nodes_that_should_not_lead_hand_over_first() {
    for model in models(PARTITION, 4) {
        for unfit in subsets(4) {
            let mut model = model.clone();
            model.unfit = unfit.clone();
            let leader = model.leader;
            let can_lead = |node: &&NodeId| {
                **node != leader && model.voters.contains(node) && !unfit.contains(node)
            };
            let successor = model.target.iter().find(can_lead).copied();
            let steps = model.run();
            model.assert_arrived();
            if let (true, Some(successor)) = (unfit.contains(&leader), successor) {
                assert_eq!(steps[0], Step::TransferLeader(successor), "{steps:?}");
            }
        }
    }
}

/// Three nodes, of which node 3 is replaced by node 4.
fn replacing() -> Model {
    Model {
        group: PARTITION,
        leader: node(1),
        voters: nodes([1, 2, 3]),
        learners: Nodes::new(),
        target: vec![node(1), node(2), node(4)],
        hosts: nodes([1, 2, 3, 4]),
        is_settled: false,
        up: nodes([1, 2, 3, 4]),
        close: nodes([1, 2, 3]),
        unfit: Nodes::new(),
    }
}

fn step(observed: &Observed) -> Option<String> {
    let step = next_step(observed, &StepOptions::default());
    step.map(|step| step.to_string())
}

#[test]
fn one_of_three_is_replaced_in_three_steps() {
    let steps: Vec<String> = replacing().run().iter().map(ToString::to_string).collect();
    assert_eq!(
        steps,
        ["add learner 4", "change voters to 1,2,4", "settle at 1,2,4"]
    );
}

#[test]
fn a_group_alone_moves_by_way_of_two_voters() {
    let mut model = Model {
        voters: nodes([1]),
        target: vec![node(2)],
        hosts: nodes([1, 2]),
        close: nodes([1]),
        ..replacing()
    };
    let steps: Vec<String> = model.run().iter().map(ToString::to_string).collect();
    assert_eq!(
        steps,
        [
            "add learner 2",
            "change voters to 1,2",
            "transfer leader to 2",
            "change voters to 2",
            "settle at 2"
        ]
    );
}

#[test]
fn a_learner_votes_only_when_it_is_whole_and_close() {
    let mut model = replacing();
    model.learners = nodes([4]);
    let check = |matched: Option<u64>, expect: Option<&str>| {
        let mut observed = model.observed();
        if let Some(matched) = matched {
            observed.matched.insert(node(4), LogIndex(matched));
        }
        assert_eq!(step(&observed).as_deref(), expect, "{matched:?}");
    };
    let changed = Some("change voters to 1,2,4");
    check(None, None);
    // Close by number, but its log begins nowhere: the snapshot is not whole.
    check(Some(4_999), None);
    check(Some(5_000), None);
    check(Some(LAST.0 - 1_001), None);
    check(Some(LAST.0 - 1_000), changed);
    check(Some(LAST.0), changed);

    // A young log: whoever lacks its beginning lacks few entries and is still not whole.
    let mut observed = model.observed();
    observed.log = LogBounds {
        purged: LogIndex(50),
        last: LogIndex(60),
    };
    observed.matched = BTreeMap::from([2, 3].map(|id| (node(id), LogIndex(60))));
    observed.matched.insert(node(4), LogIndex(49));
    assert_eq!(step(&observed), None);
    observed.matched.insert(node(4), LogIndex(50));
    assert_eq!(step(&observed).as_deref(), changed);
}

#[test]
fn never_two_changes_at_once_and_an_abandoned_one_is_finished() {
    for model in models(PARTITION, 4) {
        let mut observed = model.observed();
        observed.changing_for = Some(Duration::from_millis(1_999));
        assert_eq!(step(&observed), None);
        observed.changing_for = Some(Duration::from_secs(2));
        let finished = next_step(&observed, &StepOptions::default());
        let Some(Step::ChangeVoters { voters, .. }) = finished else {
            panic!("{finished:?} from {observed:#?}");
        };
        assert!(voters.contains(&model.leader));
        // Nobody votes who was not part of the change: it may lack everything.
        assert!(
            voters.is_subset(&model.voters),
            "{voters:?} from {observed:#?}"
        );
    }
}

#[test]
fn leadership_goes_to_the_preferred_node_only_when_all_is_calm() {
    let calm = Model {
        leader: node(2),
        voters: nodes([1, 2, 3]),
        target: vec![node(1), node(2), node(3)],
        hosts: nodes([1, 2, 3]),
        is_settled: true,
        ..replacing()
    };
    let check = |change: &dyn Fn(&mut Observed), expect: Option<&str>| {
        let mut observed = calm.observed();
        change(&mut observed);
        assert_eq!(step(&observed).as_deref(), expect, "{observed:#?}");
    };
    check(&|_| {}, Some("transfer leader to 1"));
    check(&|it| it.node = node(1), None);
    let short = Duration::from_millis(14_999);
    check(&|it| it.since_transfer = short, None);
    check(&|it| _ = it.links.insert(node(1), short), None);
    check(&|it| _ = it.links.remove(&node(1)), None);
    check(&|it| _ = it.matched.insert(node(1), LogIndex(6_000)), None);
    check(&|it| _ = it.unfit.insert(node(1)), None);
    // A node that has to go does not wait as long, and takes whoever is well.
    let unfit = |it: &mut Observed| {
        it.unfit.insert(node(2));
        it.links.remove(&node(1));
        it.since_transfer = Duration::from_secs(3);
    };
    check(&unfit, Some("transfer leader to 3"));
}

#[test]
fn a_dead_voter_is_replaced_while_the_others_agree() {
    let mut model = replacing();
    model.up = nodes([1, 2, 4]);
    model.run();
    model.assert_arrived();
    // Without a majority nothing is changed.
    let mut model = replacing();
    model.up = nodes([1, 4]);
    let steps: Vec<String> = model.run().iter().map(ToString::to_string).collect();
    assert_eq!(steps, ["add learner 4"]);
}

#[test]
fn a_node_that_does_not_vote_decides_nothing() {
    let mut model = replacing();
    model.leader = node(4);
    assert_eq!(step(&model.observed()), None);
    model.leader = node(1);
    model.target.clear();
    assert_eq!(step(&model.observed()), None);
}

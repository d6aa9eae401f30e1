//! The next step on the way of a group to its target: a pure function of what is seen.

use std::{collections::BTreeSet, fmt, time::Duration};

use ringtail_proto::NodeId;

use super::Observed;
use crate::METADATA_GROUP;

/// One step. Each leaves the group able to work, and the next one is decided by looking again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// A node begins to receive.
    AddLearner(NodeId),
    /// Other members vote.
    ChangeVoters {
        /// The voters from then on.
        voters: BTreeSet<NodeId>,
        /// True when former voters go on receiving.
        keep_learners: bool,
    },
    /// Another voter leads.
    TransferLeader(NodeId),
    /// A node receives no longer.
    RemoveLearner(NodeId),
    /// The metadata hear that the group has arrived.
    Settle(BTreeSet<NodeId>),
}

impl fmt::Display for Step {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AddLearner(node) => write!(formatter, "add learner {node}"),
            Self::ChangeVoters { voters, .. } => {
                write!(formatter, "change voters to {}", list(voters))
            }
            Self::TransferLeader(node) => write!(formatter, "transfer leader to {node}"),
            Self::RemoveLearner(node) => write!(formatter, "remove learner {node}"),
            Self::Settle(voters) => write!(formatter, "settle at {}", list(voters)),
        }
    }
}

fn list(nodes: &BTreeSet<NodeId>) -> String {
    let nodes: Vec<String> = nodes.iter().map(ToString::to_string).collect();
    nodes.join(",")
}

/// Bounds of the steps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StepOptions {
    /// Entries that a node may lack when it becomes a voter or leader. Default 1,000: below a second of full load.
    pub lag_entries_max: u64,
    /// Time between two tries to give leadership away because this node has to. Default 3 s: an election and more.
    pub transfer_pause: Duration,
    /// Time that this node leads at least, and the preferred leader is connected at least, before leadership goes there.
    /// Default 15 s: a node that comes and goes is not worth a gap each time.
    pub preferred_pause: Duration,
    /// Time after which a change of members that nobody waits for is taken up. Default 2 s: its leader is gone.
    pub change_pause: Duration,
}

impl Default for StepOptions {
    fn default() -> Self {
        Self {
            lag_entries_max: 1_000,
            transfer_pause: Duration::from_secs(3),
            preferred_pause: Duration::from_secs(15),
            change_pause: Duration::from_secs(2),
        }
    }
}

/// The next step, or none when there is nothing to do or something has to be waited for.
///
/// - Never two changes at once.
/// - Never takes a majority of the voters that are up out of the group in one step, nor leaves it with less than a
///   majority that is up and close.
/// - A node votes once its state is whole and close to the leader's.
/// - A leader that has to go gives leadership away before anything else.
#[must_use]
pub fn next_step(observed: &Observed, options: &StepOptions) -> Option<Step> {
    if !observed.voters.contains(&observed.node) || observed.target.is_empty() {
        return None;
    }
    let decision = Decision {
        observed,
        options,
        goal: observed.goal(),
    };
    match observed.changing_for {
        Some(time) if time < options.change_pause => None,
        Some(_) => decision.finish_change(),
        None => decision
            .step_down()
            .or_else(|| decision.remove_learner())
            .or_else(|| decision.add_learner())
            .or_else(|| decision.change_voters())
            .or_else(|| decision.settle())
            .or_else(|| decision.prefer_leader()),
    }
}

struct Decision<'a> {
    observed: &'a Observed,
    options: &'a StepOptions,
    goal: BTreeSet<NodeId>,
}

impl Decision<'_> {
    /// A leader that is unfit, or to lose its replica, hands over to a voter that stays.
    fn step_down(&self) -> Option<Step> {
        let me = self.observed.node;
        let has_to_go = self.observed.unfit.contains(&me) || !self.goal.contains(&me);
        if !has_to_go || self.observed.since_transfer < self.options.transfer_pause {
            return None;
        }
        self.successor().map(Step::TransferLeader)
    }

    /// Who may lead instead, the preferred first; a node that should not, only if this one must not.
    fn successor(&self) -> Option<NodeId> {
        let others = self.observed.target.iter();
        let mut able = others.filter(|node| self.can_lead(**node)).copied();
        let fit = able
            .clone()
            .find(|node| !self.observed.unfit.contains(node));
        if self.goal.contains(&self.observed.node) {
            fit
        } else {
            fit.or_else(|| able.next())
        }
    }

    fn can_lead(&self, node: NodeId) -> bool {
        node != self.observed.node && self.observed.voters.contains(&node) && self.is_ready(node)
    }

    /// Up, whole and close.
    fn is_ready(&self, node: NodeId) -> bool {
        let lag_entries_max = self.options.lag_entries_max;
        self.observed.is_up(node) && self.observed.is_close(node, lag_entries_max)
    }

    fn remove_learner(&self) -> Option<Step> {
        let wanted = self.observed.learners_to_be();
        let mut learners = self.observed.learners.iter();
        let unwanted = learners.find(|node| !wanted.contains(node) && !self.goal.contains(node))?;
        Some(Step::RemoveLearner(*unwanted))
    }

    fn add_learner(&self) -> Option<Step> {
        let learners = self.observed.learners_to_be();
        let is_missing = |node: &&NodeId| {
            !self.observed.voters.contains(node)
                && !self.observed.learners.contains(node)
                && self.observed.is_up(**node)
        };
        // Voters to be come first: what they have to copy takes time.
        let missing = self
            .observed
            .target
            .iter()
            .chain(&learners)
            .find(is_missing)?;
        Some(Step::AddLearner(*missing))
    }

    fn change_voters(&self) -> Option<Step> {
        let voters = &self.observed.voters;
        let is_settled_in = |node: &NodeId| voters.contains(node) || self.is_ready(*node);
        let are_members = self
            .goal
            .iter()
            .all(|node| voters.contains(node) || self.observed.learners.contains(node));
        if *voters == self.goal || !are_members || !self.goal.iter().all(is_settled_in) {
            return None;
        }
        // Soon another node leads, and it need not keep this one.
        let me = self.observed.node;
        if !self.goal.contains(&me) && self.successor().is_some() {
            return None;
        }
        self.voters_of(self.next_voters())
    }

    /// A leader left a change half done. Where it was going is not known, only who takes part; from there the way goes on
    /// like any other, and if it cannot go on yet, everybody who takes part stays.
    fn finish_change(&self) -> Option<Step> {
        let is_member = |node: &NodeId| self.observed.voters.contains(node);
        if self.goal.iter().all(is_member) {
            self.voters_of(self.next_voters())
        } else {
            self.voters_of(self.observed.voters.clone())
        }
    }

    /// As much of the goal as one step may bring: of the voters that are up, less than a majority goes, and never this
    /// node, which has to give leadership away first.
    fn next_voters(&self) -> BTreeSet<NodeId> {
        let voters = &self.observed.voters;
        let up = voters.iter().filter(|node| self.observed.is_up(**node));
        let mut removable = up.count() / 2;
        let mut next = self.goal.clone();
        next.insert(self.observed.node);
        for node in voters.difference(&self.goal) {
            if !self.observed.is_up(*node) || *node == self.observed.node {
                continue;
            }
            if removable == 0 {
                next.insert(*node);
            }
            removable = removable.saturating_sub(1);
        }
        next
    }

    /// The change, if the group can agree on it now and can work afterwards.
    fn voters_of(&self, next: BTreeSet<NodeId>) -> Option<Step> {
        let is_change = next != self.observed.voters || self.observed.changing_for.is_some();
        let is_majority = |nodes: &BTreeSet<NodeId>| {
            let ready = nodes.iter().filter(|node| self.is_ready(**node)).count();
            2 * ready > nodes.len()
        };
        if !is_change || !is_majority(&self.observed.voters) || !is_majority(&next) {
            return None;
        }
        Some(Step::ChangeVoters {
            voters: next,
            keep_learners: self.observed.group == METADATA_GROUP,
        })
    }

    fn settle(&self) -> Option<Step> {
        let has_arrived = self.observed.voters == self.goal;
        (has_arrived && !self.observed.is_settled).then(|| Step::Settle(self.goal.clone()))
    }

    fn prefer_leader(&self) -> Option<Step> {
        let preferred = *self.observed.target.first()?;
        let pause = self.options.preferred_pause;
        let is_steady = self.observed.links.get(&preferred) >= Some(&pause);
        let is_fit = !self.observed.unfit.contains(&preferred);
        let may_lead = self.observed.is_settled && is_fit && self.can_lead(preferred);
        (may_lead && is_steady && self.observed.since_transfer >= pause)
            .then_some(Step::TransferLeader(preferred))
    }
}

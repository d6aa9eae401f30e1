//! The loop that takes the groups that this node leads to their targets, step by step.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use ringtail_proto::{GroupId, NodeId};
use tokio::{
    task::{self, JoinError, JoinSet},
    time::{Instant, sleep, timeout},
};

use super::{GroupControl, NodeHealth, Observed, OpenGroups, Step, StepOptions, next_step};
use crate::{Actor, Command, GroupPlacement, Metadata, NodeState};

/// Bounds of the loop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeeperOptions {
    /// Bounds of the steps.
    pub step: StepOptions,
    /// Time between two looks when nothing happens. Default 500 ms.
    pub interval: Duration,
    /// Time between two looks at least. Default 50 ms.
    pub pause: Duration,
    /// Time for which a group whose step failed is left alone. Default 1 s.
    pub rest: Duration,
    /// Time that a step may take; what becomes of it then shows at a later look. Default 30 s.
    pub step_deadline: Duration,
    /// Steps at once, each with a group of its own. Default 16.
    pub steps_max: usize,
}

impl Default for KeeperOptions {
    fn default() -> Self {
        Self {
            step: StepOptions::default(),
            interval: Duration::from_millis(500),
            pause: Duration::from_millis(50),
            rest: Duration::from_secs(1),
            step_deadline: Duration::from_secs(30),
            steps_max: 16,
        }
    }
}

/// Looks after the groups that this node leads.
pub struct Keeper {
    node: NodeId,
    metadata: Metadata,
    groups: OpenGroups,
    health: Arc<dyn NodeHealth>,
    options: KeeperOptions,
    actor: Actor,
    led: BTreeMap<GroupId, Led>,
    steps: JoinSet<Done>,
}

/// What is remembered of a group while this node leads it: times and nothing else, so that a crash loses nothing.
struct Led {
    /// Since this node leads, or last tried to give leadership away.
    transfer: Instant,
    /// Since a change of members is under way that nobody here waits for.
    changing: Option<Instant>,
    /// The group is left alone until then.
    rest_until: Instant,
    /// The step under way.
    step: Option<task::Id>,
}

/// The end of a step.
struct Done {
    is_transfer: bool,
    has_failed: bool,
}

impl Keeper {
    /// A keeper on `node` for whatever groups it leads.
    #[must_use]
    pub fn new(
        node: NodeId,
        metadata: Metadata,
        groups: OpenGroups,
        health: Arc<dyn NodeHealth>,
        options: KeeperOptions,
        actor: Actor,
    ) -> Self {
        Self {
            node,
            metadata,
            groups,
            health,
            options,
            actor,
            led: BTreeMap::new(),
            steps: JoinSet::new(),
        }
    }

    /// Runs until it is dropped; steps under way are given up then, and taken up by whoever leads next.
    pub async fn run(mut self) {
        let mut changes = self.metadata.changes();
        loop {
            changes.mark_unchanged();
            self.look();
            sleep(self.options.pause).await;
            tokio::select! {
                _ = changes.changed() => {}
                Some(done) = self.steps.join_next_with_id() => self.note(done),
                () = sleep(self.options.interval) => {}
            }
            while let Some(done) = self.steps.try_join_next_with_id() {
                self.note(done);
            }
        }
    }

    fn look(&mut self) {
        let groups = (self.groups)();
        let placement = self.metadata.directory().placement();
        let led: BTreeSet<GroupId> = groups
            .iter()
            .filter(|group| group.is_leader())
            .map(|group| group.id())
            .collect();
        let now = Instant::now();
        self.led.retain(|group, state| {
            let is_led = led.contains(group);
            if !is_led {
                state.transfer = now;
            }
            is_led || state.step.is_some()
        });
        let others = Others::seen(&self.metadata, &*self.health, self.node);
        for group in groups {
            let id = group.id();
            if let (true, Some(place)) = (led.contains(&id), placement.get(&id)) {
                self.look_after(group, place, &others);
            }
        }
    }

    fn look_after(
        &mut self,
        group: Arc<dyn GroupControl>,
        place: &GroupPlacement,
        others: &Others,
    ) {
        let now = Instant::now();
        let id = group.id();
        let state = self.led.entry(id).or_insert(Led {
            transfer: now,
            changing: None,
            rest_until: now,
            step: None,
        });
        if state.step.is_some()
            || now < state.rest_until
            || self.steps.len() >= self.options.steps_max
        {
            return;
        }
        let members = group.members();
        state.changing = match (members.is_changing, state.changing) {
            (true, None) => Some(now),
            (true, since) => since,
            (false, _) => None,
        };
        let Some(replication) = group.replication() else {
            return;
        };
        let matched = replication
            .into_iter()
            .filter_map(|(node, index)| Some((node, index?)));
        let observed = Observed {
            group: id,
            node: self.node,
            changing_for: state.changing.map(|since| now - since),
            since_transfer: now - state.transfer,
            voters: members.voters,
            learners: members.learners,
            matched: matched.collect(),
            log: group.log_bounds(),
            target: place.target.clone(),
            hosts: place.hosts.iter().copied().collect(),
            is_settled: place.is_settled(id),
            unfit: others.unfit.clone(),
            links: others.links.clone(),
        };
        if let Some(step) = next_step(&observed, &self.options.step) {
            tracing::info!(group = %id, %step, "keeper");
            let task = self.begin(group, place.revision, step);
            if let Some(state) = self.led.get_mut(&id) {
                state.step = Some(task);
            }
        }
    }

    fn begin(&mut self, group: Arc<dyn GroupControl>, revision: u64, step: Step) -> task::Id {
        let (metadata, actor) = (self.metadata.clone(), self.actor.clone());
        let deadline = self.options.step_deadline;
        let task = self.steps.spawn(async move {
            let id = group.id();
            let is_transfer = matches!(step, Step::TransferLeader(_));
            let taken = take(&*group, &metadata, &actor, revision, step);
            let result = timeout(deadline, taken).await;
            let failure = match result {
                Ok(Ok(())) => None,
                Ok(Err(message)) => Some(message),
                Err(_elapsed) => Some("it took too long".to_owned()),
            };
            if let Some(error) = &failure {
                tracing::warn!(group = %id, %error, "keeper: the step failed");
            }
            metrics::counter!("ringtail_replicate_keeper_steps_total").increment(1);
            Done {
                is_transfer,
                has_failed: failure.is_some(),
            }
        });
        task.id()
    }

    fn note(&mut self, done: Result<(task::Id, Done), JoinError>) {
        let (task, done) = match done {
            Ok(done) => done,
            Err(error) => {
                let (is_transfer, has_failed) = (false, true);
                let done = Done {
                    is_transfer,
                    has_failed,
                };
                (error.id(), done)
            }
        };
        let now = Instant::now();
        let mut states = self.led.values_mut();
        if let Some(state) = states.find(|state| state.step == Some(task)) {
            state.step = None;
            state.changing = None;
            if done.is_transfer {
                state.transfer = now;
            }
            if done.has_failed {
                state.rest_until = now + self.options.rest;
            }
        }
    }
}

async fn take(
    group: &dyn GroupControl,
    metadata: &Metadata,
    actor: &Actor,
    revision: u64,
    step: Step,
) -> Result<(), String> {
    let taken = match step {
        Step::AddLearner(node) => group.add_learner(node).await,
        Step::RemoveLearner(node) => group.remove_learner(node).await,
        Step::TransferLeader(node) => group.transfer_leader(node).await,
        Step::ChangeVoters {
            voters,
            keep_learners,
        } => group.change_voters(&voters, keep_learners).await,
        Step::Settle(voters) => {
            let command = Command::SettleGroup {
                group: group.id(),
                revision,
                voters: voters.into_iter().collect(),
            };
            let settled = metadata.execute(command, actor, "").await;
            return settled.map(drop).map_err(|error| error.to_string());
        }
    };
    taken.map_err(|error| error.to_string())
}

/// What is known of the nodes, the same for all groups.
struct Others {
    /// Nodes that should not lead.
    unfit: BTreeSet<NodeId>,
    /// For how long each other node has been connected.
    links: BTreeMap<NodeId, Duration>,
}

impl Others {
    fn seen(metadata: &Metadata, health: &dyn NodeHealth, me: NodeId) -> Self {
        let nodes = metadata.directory().nodes();
        let unfit = nodes
            .iter()
            .filter(|node| node.state == NodeState::Draining || !health.may_lead(node.id));
        let links = nodes
            .iter()
            .filter(|node| node.id != me && node.is_member())
            .filter_map(|node| Some((node.id, health.up_for(node.id)?)));
        Self {
            unfit: unfit.map(|node| node.id).collect(),
            links: links.collect(),
        }
    }
}

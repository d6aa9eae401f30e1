//! The loop that sends groups to their nodes. Every node runs it, the leader of group 0 acts.

use std::{sync::Arc, time::Duration};

use ringtail_proto::NodeId;
use tokio::time::{Instant, sleep, timeout};

use super::{NodeHealth, PlanOptions, ReconcilePlan, next_of_lost, plan};
use crate::{Actor, Command, Metadata, MetadataError, NodeState};

/// Bounds of the loop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReconcilerOptions {
    /// Bounds of a plan.
    pub plan: PlanOptions,
    /// Time between two looks when nothing happens. Default 5 s.
    pub interval: Duration,
    /// Time between two looks at least. Default 100 ms.
    pub pause: Duration,
    /// Time for which the set of active nodes has to stay the same. Default 1 s: several nodes that join together are
    /// one change.
    pub calm: Duration,
}

impl Default for ReconcilerOptions {
    fn default() -> Self {
        Self {
            plan: PlanOptions::default(),
            interval: Duration::from_secs(5),
            pause: Duration::from_millis(100),
            calm: Duration::from_secs(1),
        }
    }
}

/// Takes joining nodes in and sends groups to their nodes.
pub struct Reconciler {
    metadata: Metadata,
    health: Arc<dyn NodeHealth>,
    options: ReconcilerOptions,
    actor: Actor,
    /// The active nodes, and since when it is these.
    active: (Vec<NodeId>, Instant),
    /// The plan that was logged last.
    logged: String,
}

impl Reconciler {
    /// A reconciler that acts in the name of `actor`.
    #[must_use]
    pub fn new(
        metadata: Metadata,
        health: Arc<dyn NodeHealth>,
        options: ReconcilerOptions,
        actor: Actor,
    ) -> Self {
        Self {
            metadata,
            health,
            options,
            actor,
            active: (Vec::new(), Instant::now()),
            logged: String::new(),
        }
    }

    /// What would be done now: the same plan that is executed, on any node.
    #[must_use]
    pub fn plan(metadata: &Metadata, options: PlanOptions) -> ReconcilePlan {
        let directory = metadata.directory();
        let mut options = options;
        options.placement.replicas_max = directory.replicas_max();
        plan(&directory.nodes(), &directory.placement(), &options)
    }

    /// Runs until it is dropped.
    pub async fn run(mut self) {
        let mut changes = self.metadata.changes();
        loop {
            changes.mark_unchanged();
            if self.metadata.is_leader()
                && let Err(error) = self.look().await
            {
                // Somebody else may lead by now; what is left to do shows at the next look.
                tracing::warn!(%error, "reconcile");
            }
            sleep(self.options.pause).await;
            let rest = self.until_next_look();
            // Whichever comes first. A closed channel means that the node stops.
            let _ = timeout(rest, changes.changed()).await;
        }
    }

    async fn look(&mut self) -> Result<(), MetadataError> {
        self.take_in().await?;
        self.let_lost_go().await?;
        if !self.is_calm() {
            return Ok(());
        }
        self.raise_gate().await?;
        let plan = Self::plan(&self.metadata, self.options.plan);
        self.log(&plan);
        for change in plan.next {
            let command = Command::MoveGroup {
                group: change.group,
                target: change.target,
            };
            self.metadata.execute(command, &self.actor, "plan").await?;
        }
        Ok(())
    }

    /// A node that was heard from is in.
    async fn take_in(&self) -> Result<(), MetadataError> {
        for node in self.metadata.directory().nodes() {
            let is_heard = self.health.up_for(node.id).is_some();
            if node.state == NodeState::Joining && is_heard {
                let command = Command::SetNodeState {
                    node: node.id,
                    state: NodeState::Active,
                    is_forced: false,
                };
                self.metadata.execute(command, &self.actor, "heard").await?;
            }
        }
        Ok(())
    }

    /// A node whose address is another's by now goes step by step.
    async fn let_lost_go(&self) -> Result<(), MetadataError> {
        let directory = self.metadata.directory();
        let (nodes, placement) = (directory.nodes(), directory.placement());
        let next = next_of_lost(&nodes, &placement, directory.replicas_max());
        let Some((node, state)) = next else {
            return Ok(());
        };
        tracing::info!(%node, %state, "a lost node");
        let command = Command::SetNodeState {
            node,
            state,
            is_forced: false,
        };
        let changed = self.metadata.execute(command, &self.actor, "lost");
        changed.await.map(drop)
    }

    /// What all binaries know is used from now on; older ones are kept out.
    async fn raise_gate(&self) -> Result<(), MetadataError> {
        let directory = self.metadata.directory();
        let level = directory.feature_level();
        if level <= directory.feature_gate() {
            return Ok(());
        }
        let command = Command::RaiseFeatureGate { level };
        let raised = self.metadata.execute(command, &self.actor, "all know it");
        raised.await.map(drop)
    }

    fn is_calm(&mut self) -> bool {
        let nodes = self.metadata.directory().nodes();
        let active = nodes.iter().filter(|node| node.is_active());
        let active: Vec<NodeId> = active.map(|node| node.id).collect();
        if self.active.0 != active {
            self.active = (active, Instant::now());
        }
        self.active.1.elapsed() >= self.options.calm
    }

    /// Until the set of nodes is calm, if it is not; else the interval.
    fn until_next_look(&self) -> Duration {
        let calm_in = self.options.calm.saturating_sub(self.active.1.elapsed());
        if calm_in.is_zero() || !self.metadata.is_leader() {
            self.options.interval
        } else {
            calm_in
        }
    }

    fn log(&mut self, plan: &ReconcilePlan) {
        metrics::gauge!("ringtail_replicate_placement_moves_wanted")
            .set(plan.all.moves.len() as f64);
        metrics::gauge!("ringtail_replicate_placement_unsettled").set(plan.unsettled.len() as f64);
        let text = plan.to_string();
        if text != self.logged {
            tracing::info!(%plan, "placement");
            self.logged = text;
        }
    }
}

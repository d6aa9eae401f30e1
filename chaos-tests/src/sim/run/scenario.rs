//! What the clients do in a run, from the first site to the last check.

use std::{
    cell::{Cell, RefCell},
    collections::{BTreeMap, BTreeSet},
    rc::Rc,
    sync::Arc,
    time::Duration,
};

use anyhow::{Context as _, bail};
use ringtail_metadata::{Actor, Command, NodeState, reconcile::drain_progress};
use ringtail_proto::{NodeId, SiteId};
use tokio::{
    sync::watch,
    time::{Instant, sleep, timeout},
};

use super::SimOptions;
use crate::{
    sim::{
        checks::Checks,
        plan::{Fault, NODES, Plan},
        ring::Ring,
        visitors::{Visitors, spawn_reader},
        watch::Logs,
    },
    workload::Site,
};

/// Virtual time that the ring may take to become whole at the beginning.
const WHOLE_WITHIN: Duration = Duration::from_secs(60);
const LOOK_INTERVAL: Duration = Duration::from_millis(100);
/// Virtual time that clients may need to get their answers after the last fault.
const ANSWERED_WITHIN: Duration = Duration::from_secs(60);
const READ_PAUSE: Duration = Duration::from_millis(400);

/// Where a run is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    /// The ring is being made.
    Making,
    /// Faults come.
    Faults,
    /// No more.
    Healed,
}

/// What came out.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    pub(crate) violations: Vec<String>,
    pub(crate) acknowledged: [u64; 2],
    pub(crate) live_after: Duration,
    pub(crate) lasted: Duration,
    pub(crate) trace: Vec<String>,
}

/// The clients' side of a run.
pub(crate) struct Scenario {
    pub(crate) ring: Arc<Ring>,
    pub(crate) options: SimOptions,
    pub(crate) plan: Plan,
    pub(crate) stage: watch::Sender<Stage>,
    pub(crate) acknowledged: Cell<[u64; 2]>,
    pub(crate) live_after: Cell<Duration>,
    pub(crate) drained: RefCell<Option<u64>>,
}

impl Scenario {
    pub(crate) async fn run(self: Rc<Self>) -> anyhow::Result<()> {
        let sites = self.make_sites().await?;
        self.until_whole().await?;
        self.ring.note("the ring is whole");
        let watching = tokio::task::spawn_local(Logs::new(Arc::clone(&self.ring)).run());
        let visitors = Visitors::new(Arc::clone(&self.ring), self.options.seed, sites);
        self.stage.send_replace(Stage::Faults);
        let reading = spawn_reader(&visitors, READ_PAUSE);
        let working = visitors.run(self.plan.end, self.options.pause);
        let worked = timeout(self.plan.end + ANSWERED_WITHIN, working).await;
        if worked.is_err() {
            self.ring.violated(format!(
                "a client has no answer {ANSWERED_WITHIN:?} after the last fault"
            ));
        }
        let mut stage = self.stage.subscribe();
        stage.wait_for(|stage| *stage == Stage::Healed).await?;
        self.check(&visitors).await;
        reading.abort();
        watching.abort();
        self.acknowledged.set(visitors.acknowledged());
        Ok(())
    }

    async fn check(&self, visitors: &Rc<Visitors>) {
        let joins = self
            .plan
            .faults
            .iter()
            .any(|(_, fault)| *fault == Fault::Join);
        let mut checks = Checks {
            ring: Arc::clone(&self.ring),
            visitors: Rc::clone(visitors),
            members: (1..=NODES + u64::from(joins)).collect(),
        };
        self.live_after.set(checks.liveness().await);
        let drained = *self.drained.borrow();
        if let Some(node) = drained {
            self.until_drained(NodeId(node)).await;
            checks.members.remove(&node);
        }
        if checks.quiet().await {
            checks.equality().await;
        }
    }

    async fn make_sites(&self) -> anyhow::Result<BTreeMap<String, SiteId>> {
        let by = Actor::new("an operator");
        let first = loop {
            if let Some(first) = self.ring.anybody() {
                break first;
            }
            sleep(LOOK_INTERVAL).await;
        };
        let mut sites = BTreeMap::new();
        for site in Site::three() {
            let added = first
                .metadata
                .add_site(&site.domain, site.timezone, &by, "")
                .await?;
            sites.insert(site.domain, added.id);
        }
        Ok(sites)
    }

    /// Three replicas of everything, and settings in all logs.
    async fn until_whole(&self) -> anyhow::Result<()> {
        let started = Instant::now();
        loop {
            sleep(LOOK_INTERVAL).await;
            let running = self.ring.running();
            let first = running.first().context("the founder runs")?;
            let directory = first.1.metadata.directory();
            let placement = directory.placement();
            let is_whole = placement
                .iter()
                .all(|(group, place)| place.is_settled(*group) && place.voters.len() == 3);
            if running.len() == NODES as usize
                && is_whole
                && directory.awaiting_settings_count() == 0
            {
                return Ok(());
            }
            if started.elapsed() > WHOLE_WITHIN {
                bail!(
                    "the ring is not whole after {WHOLE_WITHIN:?}: {:?}",
                    directory.placement()
                );
            }
        }
    }

    /// Drains a node: asked for until it is heard.
    pub(crate) fn drain(self: &Rc<Self>, node: u64) -> impl Future<Output = ()> + use<> {
        let scenario = Rc::clone(self);
        scenario.drained.replace(Some(node));
        async move {
            let by = Actor::new("an operator");
            loop {
                if let Some(other) = scenario.ring.anybody() {
                    let drain = Command::SetNodeState {
                        node: NodeId(node),
                        state: NodeState::Draining,
                        is_forced: false,
                    };
                    let known = other.metadata.directory().node(NodeId(node));
                    let is_draining = known.is_some_and(|known| known.state == NodeState::Draining);
                    if is_draining || other.metadata.execute(drain, &by, "").await.is_ok() {
                        return scenario.ring.note(format!("node {node} drains"));
                    }
                }
                sleep(LOOK_INTERVAL).await;
            }
        }
    }

    async fn until_drained(&self, node: NodeId) {
        let started = Instant::now();
        loop {
            let running: BTreeSet<u64> =
                self.ring.running().iter().map(|(host, _)| *host).collect();
            if let Some(other) = self.ring.anybody() {
                let placement = other.metadata.directory().placement();
                if drain_progress(node, &placement, &BTreeMap::new()).is_done() {
                    return self.ring.note(format!("node {node} is drained"));
                }
                if started.elapsed() > WHOLE_WITHIN {
                    return self.ring.violated(format!(
                        "node {node} is not drained while {running:?} run: {placement:?}"
                    ));
                }
            }
            sleep(LOOK_INTERVAL).await;
        }
    }
}

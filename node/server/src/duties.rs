//! What the node does on its own, beside the partitions' duties: one table of background jobs.

use std::{convert::Infallible, sync::Arc, time::Duration};

use ringtail_checkpoint::FreeSpace;
use ringtail_metadata::{
    Command,
    reconcile::{
        GroupControl, Keeper, KeeperOptions, NodeHealth, OpenGroups, Reconciler, ReconcilerOptions,
    },
};
use ringtail_router::IngestGate;
use tokio::{
    task::{AbortHandle, JoinHandle},
    time::MissedTickBehavior,
};

use crate::{
    disk_watch,
    ring::{PeerHealth, follow_addresses, measure_groups},
    wiring::Node,
};

const KEY_USES_INTERVAL: Duration = Duration::from_secs(60);
const METADATA_FLOOR_INTERVAL: Duration = Duration::from_secs(60);
const METRICS_INTERVAL: Duration = Duration::from_secs(5);
const SETTINGS_INTERVAL: Duration = Duration::from_secs(5);
const SALTS_INTERVAL: Duration = Duration::from_secs(600);
const DESCRIPTION_INTERVAL: Duration = Duration::from_secs(1);

/// Starts all jobs; they end when they are aborted. Those that move groups and leaders about are named a second time.
pub(crate) fn start(
    node: &Node,
    free: Arc<dyn FreeSpace>,
    gate: Arc<IngestGate>,
    disk_reserve_bytes: u64,
) -> (Vec<JoinHandle<()>>, Vec<AbortHandle>) {
    let mut duties = vec![
        tokio::spawn(disk_watch::watch(free, gate, disk_reserve_bytes)),
        key_uses(node),
        metadata_floor(node),
        salts(node),
        settings(node),
        metrics_upkeep(node),
    ];
    let directory = node.metadata.directory();
    duties.extend(node.past.start(&node.partitions, directory, &node.peers));
    duties.extend(node.mirroring.start(&node.partitions));
    let (of_ring, keepers) = ring_duties(node);
    duties.extend(of_ring);
    (duties, keepers)
}

/// What a node does as one of several.
fn ring_duties(node: &Node) -> (Vec<JoinHandle<()>>, Vec<AbortHandle>) {
    let metadata = &node.metadata;
    let health: Arc<dyn NodeHealth> = Arc::new(PeerHealth {
        node: node.identity.node,
        peers: node.peers.clone(),
        vitals: Arc::clone(&node.vitals),
    });
    let groups: OpenGroups = {
        let raft = Arc::clone(&node.raft);
        Arc::new(move || {
            let open = raft.groups().into_iter();
            open.map(|group| Arc::new(group) as Arc<dyn GroupControl>)
                .collect()
        })
    };
    let keeper = Keeper::new(
        node.identity.node,
        metadata.clone(),
        groups,
        Arc::clone(&health),
        KeeperOptions::default(),
        node.actor().clone(),
    );
    let reconciler = Reconciler::new(
        metadata.clone(),
        health,
        ReconcilerOptions::default(),
        node.actor().clone(),
    );
    let addresses = follow_addresses(metadata.clone(), node.peers.clone(), Arc::clone(&node.raft));
    let (keeper, reconciler) = (tokio::spawn(keeper.run()), tokio::spawn(reconciler.run()));
    let keepers = vec![keeper.abort_handle(), reconciler.abort_handle()];
    let mut duties = vec![
        tokio::spawn(addresses),
        tokio::spawn(Arc::clone(&node.vitals).measure(node.peers.clone())),
        tokio::spawn(measure_groups(Arc::clone(&node.raft))),
        tokio::spawn(Arc::clone(&node.hosting).run(node.router.clone())),
        keeper,
        reconciler,
        description(node),
    ];
    if let Ok(salts) = node.salts_follower() {
        duties.push(tokio::spawn(salts.run()));
    }
    (duties, keepers)
}

/// Tells the ring where this node is, as soon as the ring can be told and whenever it knows otherwise.
fn description(node: &Node) -> JoinHandle<()> {
    let (metadata, actor) = (node.metadata.clone(), node.actor().clone());
    let (id, mine) = (node.identity.node, node.description.clone());
    every(DESCRIPTION_INTERVAL, move || {
        let (metadata, actor, mine) = (metadata.clone(), actor.clone(), mine.clone());
        async move {
            let known = metadata.directory().node(id);
            let is_right = known.as_ref().is_some_and(|known| {
                known.addresses == mine.addresses
                    && known.zone == mine.zone
                    && known.feature_level == mine.feature_level
            });
            if is_right {
                return Ok(());
            }
            if known.is_none() {
                let register = Command::RegisterNode {
                    node: id,
                    addresses: mine.addresses.clone(),
                };
                metadata.execute(register, &actor, "start").await?;
            }
            metadata.describe(id, mine, &actor).await
        }
    })
}

/// Folds samples of histograms together, also while nobody scrapes them.
fn metrics_upkeep(node: &Node) -> JoinHandle<()> {
    let metrics = node.health_view.metrics.clone();
    every(METRICS_INTERVAL, move || {
        metrics.run_upkeep();
        std::future::ready(Ok::<(), Infallible>(()))
    })
}

/// Brings settings into the partitions' logs that a failed or abandoned change left behind.
fn settings(node: &Node) -> JoinHandle<()> {
    let settings = Arc::clone(&node.settings);
    every(SETTINGS_INTERVAL, move || {
        let settings = Arc::clone(&settings);
        async move {
            match settings.is_due() {
                true => settings.push_all().await.map(drop),
                false => Ok(()),
            }
        }
    })
}

/// Writes down when keys were last used.
fn key_uses(node: &Node) -> JoinHandle<()> {
    let (metadata, actor) = (node.metadata.clone(), node.actor().clone());
    every(KEY_USES_INTERVAL, move || {
        let (metadata, actor) = (metadata.clone(), actor.clone());
        async move { metadata.flush_key_uses(&actor).await.map(drop) }
    })
}

/// Lets the metadata's log go up to what the store holds.
fn metadata_floor(node: &Node) -> JoinHandle<()> {
    let (metadata, store) = (node.metadata.clone(), Arc::clone(&node.store));
    every(METADATA_FLOOR_INTERVAL, move || {
        let (metadata, store) = (metadata.clone(), Arc::clone(&store));
        async move { metadata.raise_floor(store).await }
    })
}

/// Makes the salts of days to come and forgets those of days gone.
fn salts(node: &Node) -> JoinHandle<()> {
    let gateway = Arc::clone(&node.gateway);
    every(SALTS_INTERVAL, move || {
        let gateway = Arc::clone(&gateway);
        async move { gateway.turn_salts() }
    })
}

/// Runs a job now and then again after each interval; a failure is logged, and the job tried again.
fn every<F, E>(interval: Duration, job: impl Fn() -> F + Send + 'static) -> JoinHandle<()>
where
    F: Future<Output = Result<(), E>> + Send,
    E: std::fmt::Display,
{
    tokio::spawn(async move {
        let mut ticks = tokio::time::interval(interval);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            if let Err(error) = job().await {
                tracing::warn!(%error, "a duty failed and will be tried again");
            }
        }
    })
}

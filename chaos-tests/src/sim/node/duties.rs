//! What a simulated node does on its own: the server's duties of a node of a ring, at a pace at which a short run sees them.

use std::{sync::Arc, time::Duration};

use ringtail_checkpoint::CheckpointStore;
use ringtail_hosting::Hosting;
use ringtail_metadata::{
    Actor, Metadata,
    reconcile::{
        GroupControl, Keeper, KeeperOptions, OpenGroups, Reconciler, ReconcilerOptions, StepOptions,
    },
};
use ringtail_router::Router;
use tokio::{task::JoinHandle, time::MissedTickBehavior};

use super::settings;
use crate::sim::{
    bugs::Machine,
    host::Host,
    peers::{SimPeers, follow_addresses},
};

const METADATA_FLOOR_INTERVAL: Duration = Duration::from_secs(5);

/// All of them; they end when they are aborted.
pub(super) fn start(
    host: &Arc<Host>,
    hosting: &Arc<Hosting<Machine>>,
    router: &Router,
    peers: &SimPeers,
    actor: &Actor,
) -> Vec<JoinHandle<()>> {
    let (node, metadata, raft) = (hosting.node, &hosting.metadata, &hosting.raft);
    let health = Arc::new(peers.clone());
    let open = Arc::clone(raft);
    let groups: OpenGroups = Arc::new(move || {
        let groups = open.groups().into_iter();
        groups
            .map(|group| Arc::new(group) as Arc<dyn GroupControl>)
            .collect()
    });
    let keeper = KeeperOptions {
        step: StepOptions {
            transfer_pause: Duration::from_secs(1),
            preferred_pause: Duration::from_secs(3),
            ..StepOptions::default()
        },
        ..KeeperOptions::default()
    };
    let keeper = Keeper::new(
        node,
        metadata.clone(),
        groups,
        health.clone(),
        keeper,
        actor.clone(),
    );
    let reconciler = ReconcilerOptions {
        interval: Duration::from_secs(1),
        ..ReconcilerOptions::default()
    };
    let reconciler = Reconciler::new(metadata.clone(), health, reconciler, actor.clone());
    vec![
        tokio::spawn(follow_addresses(
            metadata.clone(),
            peers.clone(),
            Arc::clone(raft),
        )),
        tokio::spawn(Arc::clone(hosting).run(router.clone())),
        tokio::spawn(keeper.run()),
        tokio::spawn(reconciler.run()),
        tokio::spawn(settings::push(
            metadata.clone(),
            router.clone(),
            actor.clone(),
        )),
        tokio::spawn(raise_metadata_floor(
            metadata.clone(),
            Arc::new(host.store.clone()),
        )),
    ]
}

async fn raise_metadata_floor(metadata: Metadata, store: Arc<dyn CheckpointStore>) {
    let mut ticks = tokio::time::interval(METADATA_FLOOR_INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        if let Err(error) = metadata.raise_floor(Arc::clone(&store)).await {
            tracing::debug!(%error, "the floor of the metadata stays");
        }
    }
}

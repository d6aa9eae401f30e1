//! The partitions that are here, and the way to those that are elsewhere.

use std::sync::Arc;

use ringtail_hosting::LogOf;
use ringtail_log::LocalDisk;
use ringtail_partition::{ArbiterSpawner, LogSource, PartitionOptions, SharedLog};
use ringtail_router::{
    PeerNodes, Router, RouterOptions, RouterSeams, Spawning, SpoolPlace, TonicLink,
};
use tokio::task::JoinHandle;

use super::{Mirroring, Past, damaged, fail, ground::Ground};
use crate::{
    Hosting, Partitions, SiteMachine,
    config::Config,
    data_directory::{DataDirectory, FOUNDER},
    exit::ExitError,
};

/// Partitions and router.
pub(super) struct Groups {
    pub(super) log: Arc<dyn LogSource>,
    pub(super) partitions: Arc<Partitions>,
    pub(super) hosting: Arc<Hosting>,
    pub(super) router: Router,
    /// They tell the router who leads.
    pub(super) followers: Vec<JoinHandle<()>>,
}

impl Groups {
    /// Opens the partitions that belong here, which replay from here on, and starts the router.
    pub(super) async fn open(
        config: &Config,
        data: &DataDirectory,
        ground: &Ground,
        carriers: (&Past, &Mirroring),
    ) -> Result<Self, ExitError> {
        let log: Arc<dyn LogSource> = Arc::new(SharedLog(Arc::clone(ground.raft.log())));
        let partitions = open_partitions(config, ground, &log, carriers).await?;
        carriers.0.warn_of_waiting(&partitions);
        let hosting = Arc::new(Hosting {
            node: ground.identity.node,
            metadata: ground.metadata.clone(),
            raft: Arc::clone(&ground.raft),
            partitions: Arc::clone(&partitions),
            log_of: log_of(),
        });
        let (router, followers) = start_router(config, data, ground, &hosting).await?;
        Ok(Self {
            log,
            partitions,
            hosting,
            router,
            followers,
        })
    }
}

async fn open_partitions(
    config: &Config,
    ground: &Ground,
    log: &Arc<dyn LogSource>,
    (past, mirroring): (&Past, &Mirroring),
) -> Result<Arc<Partitions>, ExitError> {
    let options = PartitionOptions {
        dirty_age_ms_max: config.checkpoint_dirty_seconds_max * 1_000,
        site_idle_ms_max: config.site_idle_seconds_max * 1_000,
        snapshot_bytes_per_second_max: config.snapshot_bytes_per_second_max,
        archives: past.is_archived(),
        holds_objects: past.is_own(),
        mirrors: mirroring.is_on(),
        ..PartitionOptions::default()
    };
    let seams = ringtail_partition::Seams {
        store: Arc::clone(&ground.store),
        log: Arc::clone(log),
        clock: Arc::new(ringtail_partition::SystemClock::new()),
        spawner: ArbiterSpawner::new(config.threads).map_err(fail)?,
        node_log_bytes: Arc::default(),
    };
    let (node, directory) = (ground.identity.node, ground.metadata.directory());
    let (hosted, slots) = (directory.hosted_by(node), (*directory.slots()).clone());
    let machine = SiteMachine::default();
    let opened = Partitions::open(&ground.raft, slots, hosted, machine, seams, options).await;
    let partitions = opened.map_err(damaged)?;
    if node == FOUNDER {
        // Does nothing for groups that have members.
        let mine = directory.never_moved(node, &partitions.hosted());
        partitions.initialize_single(mine).await.map_err(fail)?;
    }
    Ok(partitions)
}

async fn start_router(
    config: &Config,
    data: &DataDirectory,
    ground: &Ground,
    hosting: &Hosting,
) -> Result<(Router, Vec<JoinHandle<()>>), ExitError> {
    let (node, options) = (ground.identity.node, RouterOptions::default());
    let others: PeerNodes = {
        let peers = ground.peers.clone();
        Arc::new(move || peers.nodes().into_iter().collect())
    };
    let (clock, channels) = (Arc::clone(&ground.clock), ground.channels());
    let link = Arc::new(TonicLink::new(node, options, clock, channels, others));
    let seams = RouterSeams {
        node,
        clock: Arc::clone(&ground.clock),
        leaders: link.clone(),
        copies: link,
        spool: SpoolPlace {
            disk: Arc::new(LocalDisk),
            directory: data.spool(),
        },
        spawning: Spawning::OwnArbiters(config.threads),
    };
    #[cfg(feature = "planted-bugs")]
    crate::planted_bugs::before_the_spool_opens(&data.spool());
    let slots = ground.metadata.directory().slots();
    let (routes, followers) = hosting.routes();
    let router = Router::start(options, (*slots).clone(), routes, seams).await;
    Ok((router.map_err(fail)?, followers))
}

#[cfg(not(feature = "planted-bugs"))]
fn log_of() -> LogOf {
    Arc::new(|log| Arc::new(log))
}

#[cfg(feature = "planted-bugs")]
fn log_of() -> LogOf {
    Arc::new(crate::planted_bugs::replicated_log)
}

//! The composition root: every part of a node, made in the order in which they need each other.

mod edge;
mod ground;
mod groups;
mod mirror;
mod past;
mod readiness;
mod services;

use std::{net::TcpListener, sync::Arc};

use metrics_exporter_prometheus::PrometheusHandle;
use ringtail_checkpoint::{CheckpointStore, DiskFreeSpace};
use ringtail_gateway::{CollectorService, Gateway, Salts};
use ringtail_metadata::{Actor, Description, METADATA_GROUP, Metadata, NodeAddresses};
use ringtail_peers::Peers;
use ringtail_proto::wire::v1::collector_server::CollectorServer;
use ringtail_raft::RaftNode;
use ringtail_router::Router;
use tokio::task::{AbortHandle, JoinHandle};
use tonic_health::server::HealthReporter;

use crate::{
    Hosting, Partitions,
    config::Config,
    data_directory::{Addresses, DataDirectory, Identity},
    disk_watch, duties,
    exit::{Exit, ExitError},
    health::Health,
    http::HealthView,
    ring::{self, PeerServer, SaltsFollower, Vitals},
    settings_pusher::SettingsPusher,
};
use ground::Ground;
use groups::Groups;
pub(crate) use mirror::{Mirroring, options as mirror_options};
pub(crate) use past::Past;
use services::{Helpers, Services};

/// All parts of a running node.
pub(crate) struct Node {
    pub(crate) identity: Identity,
    pub(crate) description: Description,
    actor: Actor,
    pub(crate) health: Arc<Health>,
    pub(crate) health_view: HealthView,
    pub(crate) grpc_health: HealthReporter,
    pub(crate) peers: Peers,
    pub(crate) store: Arc<dyn CheckpointStore>,
    pub(crate) raft: Arc<RaftNode>,
    pub(crate) metadata: Metadata,
    pub(crate) past: Past,
    pub(crate) mirroring: Mirroring,
    pub(crate) partitions: Arc<Partitions>,
    pub(crate) hosting: Arc<Hosting>,
    pub(crate) router: Router,
    pub(crate) gateway: Arc<Gateway>,
    pub(crate) salts: Arc<Salts>,
    pub(crate) settings: Arc<SettingsPusher>,
    pub(crate) vitals: Arc<Vitals>,
    pub(crate) services: Services,
    pub(crate) peer_server: PeerServer,
    pub(crate) duties: Vec<JoinHandle<()>>,
    /// Those that move groups and leaders about.
    pub(crate) keepers: Vec<AbortHandle>,
}

impl Node {
    /// Opens what the data directory holds and starts every part; the node replays from here on.
    pub(crate) async fn open(
        config: &Config,
        data: &DataDirectory,
        addresses: &Addresses,
        peer: &TcpListener,
        health: &Arc<Health>,
        metrics: PrometheusHandle,
    ) -> Result<Self, ExitError> {
        let description = description(config, addresses);
        let past = Past::open(config, data).await?;
        let ground = Ground::open(data, past.is_archived()).await?;
        let partitions = config.partitions;
        ground.belong(data, partitions, peer, &description).await?;
        let mirroring = Mirroring::open(config, data)?;
        let carriers = (&past, &mirroring);
        let groups = Groups::open(config, data, &ground, carriers).await?;
        let (gateway, salts) = edge::open(config, data, &ground, &groups)?;
        let gate = groups.router.gate();
        let helpers = Helpers {
            past: &past,
            mirroring: &mirroring,
            health,
            gateway: &gateway,
            salts: &salts,
            settings: &settings_pusher(&ground, &groups),
            vitals: &vitals(&ground, &groups, health),
        };
        let services = Services::new(&ground, &groups, &helpers);
        let peer_server = services.answer_peers(peer, &ground, &groups, &helpers)?;
        let free = Arc::new(DiskFreeSpace::new(data.path().to_owned()));
        disk_watch::look(&*free, &gate, config.disk_reserve_bytes);
        let mut node = Self {
            health: Arc::clone(health),
            health_view: HealthView {
                health: Arc::clone(health),
                gate: Arc::clone(&gate),
                metrics,
            },
            grpc_health: HealthReporter::new(),
            settings: Arc::clone(helpers.settings),
            vitals: Arc::clone(helpers.vitals),
            identity: ground.identity,
            actor: ground.actor,
            description,
            peers: ground.peers,
            store: ground.store,
            raft: ground.raft,
            metadata: ground.metadata,
            past,
            mirroring,
            partitions: groups.partitions,
            hosting: groups.hosting,
            router: groups.router,
            gateway,
            salts,
            services,
            peer_server,
            duties: groups.followers,
            keepers: Vec::new(),
        };
        let (duties, keepers) = duties::start(&node, free, gate, config.disk_reserve_bytes);
        node.duties.extend(duties);
        node.keepers = keepers;
        Ok(node)
    }

    /// Keeps the salts those of the ring.
    pub(crate) fn salts_follower(&self) -> Result<SaltsFollower, ExitError> {
        let group = self.raft.group(METADATA_GROUP);
        Ok(SaltsFollower {
            group: group.ok_or_else(|| fail("the metadata's group is not open"))?,
            peers: self.peers.clone(),
            salts: Arc::clone(&self.salts),
        })
    }

    /// True when the ring is this node.
    pub(crate) fn is_alone(&self) -> bool {
        let nodes = self.metadata.directory().nodes();
        nodes.iter().filter(|node| node.is_member()).count() <= 1
    }

    /// The service that takes events over gRPC.
    pub(crate) fn collector(&self) -> CollectorServer<CollectorService> {
        CollectorService::server(Arc::clone(&self.gateway))
    }

    /// Waits for a failure after which only a restart helps; says what failed. The log on disk has everything.
    pub(crate) async fn failed(&self) -> ExitError {
        tokio::select! {
            // The disk's failure makes the others.
            biased;
            error = self.raft.log().failed() => ExitError::new(Exit::Disk, error),
            failure = self.partitions.failed() => ExitError::new(Exit::Disk, failure),
            error = self.raft.failed() => ExitError::new(Exit::Failure, error),
        }
    }

    /// Who this node is in the audit log.
    pub(crate) fn actor(&self) -> &Actor {
        &self.actor
    }
}

fn settings_pusher(ground: &Ground, groups: &Groups) -> Arc<SettingsPusher> {
    let (metadata, router) = (ground.metadata.clone(), groups.router.clone());
    Arc::new(SettingsPusher::new(metadata, router, ground.actor.clone()))
}

fn vitals(ground: &Ground, groups: &Groups, health: &Arc<Health>) -> Arc<Vitals> {
    let (clock, gate) = (Arc::clone(&ground.clock), groups.router.gate());
    let health = Arc::clone(health);
    Arc::new(Vitals::new(ground.identity.node, clock, gate, health))
}

fn description(config: &Config, addresses: &Addresses) -> Description {
    Description {
        addresses: NodeAddresses {
            http: addresses.http.clone(),
            grpc: addresses.grpc.clone(),
            peer: addresses.peer.clone(),
        },
        zone: config.zone.clone(),
        feature_level: ring::FEATURE_LEVEL.min(config.feature_level_max),
    }
}

/// What the data directory holds cannot be used.
fn damaged(error: impl std::fmt::Display) -> ExitError {
    ExitError::new(Exit::DataDirectory, error)
}

fn fail(error: impl std::fmt::Display) -> ExitError {
    ExitError::new(Exit::Failure, error)
}

//! The composition root: every part of a node, made in the order in which they need each other.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use metrics_exporter_prometheus::PrometheusHandle;
use ringtail_checkpoint::{CheckpointStore, DiskFreeSpace, EmbeddedOptions, EmbeddedStore};
use ringtail_gateway::{CollectorService, Gateway, GatewaySettings, Salts};
use ringtail_log::{LocalDisk, LogOptions, SegmentLog};
use ringtail_metadata::{
    Actor, ClusterId, Command, Limits, Metadata, MetadataMachine, NewKey, NodeAddresses, Scope,
    Seams, Secret,
};
use ringtail_partition::{ArbiterSpawner, LogSource, PartitionOptions};
use ringtail_proto::{GroupId, UnixMillis, wire::v1::collector_server::CollectorServer};
use ringtail_raft::{Peering, RaftNode, RaftOptions};
use ringtail_router::{
    Clock, GroupRoute, NoPeers, RaftLeadership, RaftLog, ReplicatedLog, Router, RouterOptions,
    RouterSeams, Spawning, SpoolPlace, SystemClock,
};
use tokio::task::JoinHandle;
use tonic_health::server::HealthReporter;

use crate::{
    Partitions, SiteMachine,
    collecting::{DirectorySites, RouterSink},
    config::Config,
    data_directory::{Addresses, DataDirectory},
    disk_watch, duties,
    exit::{Exit, ExitError},
    health::{Health, NodeState},
    http::HealthView,
    log_source::SharedLog,
    services::{Access, Admin, Imports, Lookup, Reports, Status},
    settings_pusher::SettingsPusher,
};

/// The group of the metadata.
const METADATA: GroupId = GroupId(0);
/// How long a node may take from the start of its groups to readiness.
const READY_WAIT_MAX: Duration = Duration::from_secs(600);

/// All parts of a running node.
pub(crate) struct Node {
    pub(crate) health: Arc<Health>,
    pub(crate) health_view: HealthView,
    pub(crate) grpc_health: HealthReporter,
    pub(crate) gateway: Arc<Gateway>,
    pub(crate) admin: Admin,
    pub(crate) reports: Reports,
    pub(crate) imports: Imports,
    pub(crate) lookup: Lookup,
    pub(crate) status: Status,
    pub(crate) metadata: Metadata,
    pub(crate) partitions: Arc<Partitions>,
    pub(crate) router: Router,
    pub(crate) raft: Arc<RaftNode>,
    pub(crate) store: Arc<dyn CheckpointStore>,
    pub(crate) settings: Arc<SettingsPusher>,
    pub(crate) duties: Vec<JoinHandle<()>>,
    actor: Actor,
}

impl Node {
    /// Opens what the data directory holds and starts every part; the node replays from here on.
    pub(crate) async fn open(
        config: &Config,
        data: &DataDirectory,
        addresses: &Addresses,
        health: &Arc<Health>,
        metrics: PrometheusHandle,
    ) -> Result<Self, ExitError> {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
        let actor = Actor::new(format!("node {}", data.identity.node));
        let log = open_log(data)?;
        let store = open_store(data)?;
        let options = RaftOptions::new(data.identity.node);
        let raft = Arc::new(RaftNode::start(options, log, Peering::none()).map_err(fail)?);
        let metadata =
            open_metadata(data, config, &raft, &store, addresses, &clock, &actor).await?;
        let directory = metadata.directory();
        let log_source: Arc<dyn LogSource> = Arc::new(SharedLog(Arc::clone(raft.log())));
        let partitions = open_partitions(config, &raft, &store, &log_source, &metadata).await?;
        let router = start_router(config, data, &raft, &partitions, &metadata, &clock).await?;
        let settings = Arc::new(SettingsPusher::new(
            metadata.clone(),
            router.clone(),
            actor.clone(),
        ));
        let access = Access::new(Arc::clone(&directory), Arc::clone(&clock));
        let gateway_clock = {
            let clock = Arc::clone(&clock);
            ringtail_gateway::Clock::new(move || clock.now())
        };
        let salts = Salts::open(&data.salts(), gateway_clock.clone())
            .map_err(|error| ExitError::new(Exit::DataDirectory, error))?;
        let salts = Arc::new(salts);
        let gateway = Arc::new(Gateway::new(
            gateway_settings(config)?,
            Arc::new(DirectorySites::new(Arc::clone(&directory))),
            Arc::new(RouterSink(router.clone())),
            Arc::clone(&salts),
            gateway_clock,
        ));
        let admin = Admin {
            access: access.clone(),
            metadata: metadata.clone(),
            directory: Arc::clone(&directory),
            settings: Arc::clone(&settings),
            clock: Arc::clone(&clock),
        };
        let free = Arc::new(DiskFreeSpace::new(data.path().to_owned()));
        let gate = router.gate();
        disk_watch::look(&*free, &gate, config.disk_reserve_bytes);
        let mut node = Self {
            health_view: HealthView {
                health: Arc::clone(health),
                gate: Arc::clone(&gate),
                metrics,
            },
            grpc_health: HealthReporter::new(),
            reports: Reports::new(
                access.clone(),
                Arc::clone(health),
                Arc::clone(&partitions),
                Arc::clone(&clock),
            ),
            imports: Imports::new(
                access.clone(),
                Arc::clone(health),
                Arc::clone(&gateway),
                router.clone(),
                Arc::clone(&partitions),
            ),
            lookup: Lookup {
                access: access.clone(),
                health: Arc::clone(health),
                partitions: Arc::clone(&partitions),
                log: log_source,
                gateway: Arc::clone(&gateway),
            },
            status: Status {
                access,
                health: Arc::clone(health),
                identity: data.identity.clone(),
                raft: Arc::clone(&raft),
                partitions: Arc::clone(&partitions),
                directory: Arc::clone(&directory),
                store: Arc::clone(&store),
                router: router.clone(),
            },
            health: Arc::clone(health),
            gateway,
            admin,
            metadata,
            partitions,
            router,
            raft,
            store,
            settings,
            duties: Vec::new(),
            actor,
        };
        node.duties = duties::start(&node, free, gate, config.disk_reserve_bytes);
        Ok(node)
    }

    /// Waits until every group has applied what its log holds, then brings overdue settings in.
    pub(crate) async fn become_ready(&self, data: &DataDirectory) -> Result<(), ExitError> {
        let all = async {
            for group in self.raft.groups() {
                group.ready().await.map_err(fail)?;
            }
            if let Err(error) = self.settings.push_all().await {
                tracing::warn!(%error, "settings wait for the next push");
            }
            ensure_admin_token(&self.metadata, data, &self.actor).await
        };
        tokio::time::timeout(READY_WAIT_MAX, all)
            .await
            .map_err(|_| fail("the log could not be replayed in time"))??;
        let gateway = Arc::clone(&self.gateway);
        // Rules and databases are loaded beside the first requests, which wait only for what they need.
        tokio::task::spawn_blocking(move || gateway.warm_up());
        self.health.advance(NodeState::Ready);
        self.grpc_health
            .set_serving::<CollectorServer<CollectorService>>()
            .await;
        Ok(())
    }

    /// The service that takes events over gRPC.
    pub(crate) fn collector(&self) -> CollectorServer<CollectorService> {
        CollectorService::server(Arc::clone(&self.gateway))
    }

    /// Waits for a failure after which only a restart helps; says what failed. The log on disk has everything.
    pub(crate) async fn failed(&self) -> String {
        tokio::select! {
            error = self.raft.log().failed() => error.to_string(),
            failure = self.partitions.failed() => failure,
        }
    }

    /// Who this node is in the audit log.
    pub(crate) fn actor(&self) -> &Actor {
        &self.actor
    }
}

fn open_log(data: &DataDirectory) -> Result<Arc<SegmentLog>, ExitError> {
    let (log, report) = SegmentLog::open(Arc::new(LocalDisk), &data.log(), LogOptions::default())
        .map_err(|error| ExitError::new(Exit::DataDirectory, error))?;
    tracing::info!(?report, "log opened");
    Ok(log)
}

fn open_store(data: &DataDirectory) -> Result<Arc<dyn CheckpointStore>, ExitError> {
    let store = EmbeddedStore::open(&data.store(), EmbeddedOptions::default())
        .map_err(|error| ExitError::new(Exit::DataDirectory, error))?;
    Ok(Arc::new(store))
}

async fn open_metadata(
    data: &DataDirectory,
    config: &Config,
    raft: &RaftNode,
    store: &Arc<dyn CheckpointStore>,
    addresses: &Addresses,
    clock: &Arc<dyn Clock>,
    actor: &Actor,
) -> Result<Metadata, ExitError> {
    let machine = Arc::new(MetadataMachine::open(Arc::clone(store)).map_err(damaged)?);
    let group = raft
        .open_group(METADATA, machine.clone())
        .await
        .map_err(damaged)?;
    group.initialize_single().await.map_err(fail)?;
    group.ready().await.map_err(fail)?;
    let seams = Arc::new(SystemSeams(Arc::clone(clock)));
    let metadata = Metadata::new(group, machine, seams);
    let cluster = ClusterId(data.identity.cluster.as_u128());
    match metadata.directory().cluster() {
        Some(found) if found.id != cluster => {
            let message = format!(
                "{} belongs to cluster {}, its store to cluster {}: parts of two data directories were mixed",
                data.path().display(),
                cluster,
                found.id
            );
            return Err(ExitError::new(Exit::DataDirectory, message));
        }
        Some(_) => {}
        None => {
            let init = Command::InitCluster {
                cluster,
                groups: config.partitions,
                limits: Limits::default(),
            };
            metadata
                .execute(init, actor, "first start")
                .await
                .map_err(fail)?;
        }
    }
    let register = Command::RegisterNode {
        node: data.identity.node,
        addresses: NodeAddresses {
            http: addresses.http.clone(),
            grpc: addresses.grpc.clone(),
            ..NodeAddresses::default()
        },
    };
    metadata
        .execute(register, actor, "start")
        .await
        .map_err(fail)?;
    Ok(metadata)
}

async fn open_partitions(
    config: &Config,
    raft: &RaftNode,
    store: &Arc<dyn CheckpointStore>,
    log: &Arc<dyn LogSource>,
    metadata: &Metadata,
) -> Result<Arc<Partitions>, ExitError> {
    let directory = metadata.directory();
    let slots = directory.slots();
    let options = PartitionOptions {
        dirty_age_ms_max: config.checkpoint_dirty_seconds_max * 1_000,
        site_idle_ms_max: config.site_idle_seconds_max * 1_000,
        ..PartitionOptions::default()
    };
    let seams = ringtail_partition::Seams {
        store: Arc::clone(store),
        log: Arc::clone(log),
        clock: Arc::new(ringtail_partition::SystemClock::new()),
        spawner: ArbiterSpawner::new(config.threads).map_err(fail)?,
        node_log_bytes: Arc::default(),
    };
    let hosted: BTreeSet<_> = slots.partitions().into_keys().collect();
    let partitions = Partitions::open(
        raft,
        (*slots).clone(),
        hosted.clone(),
        SiteMachine::default(),
        seams,
        options,
    )
    .await
    .map_err(damaged)?;
    partitions.initialize_single(hosted).await.map_err(fail)?;
    Ok(partitions)
}

async fn start_router(
    config: &Config,
    data: &DataDirectory,
    raft: &RaftNode,
    partitions: &Arc<Partitions>,
    metadata: &Metadata,
    clock: &Arc<dyn Clock>,
) -> Result<Router, ExitError> {
    let directory = metadata.directory();
    let slots = directory.slots();
    let routes = raft
        .groups()
        .into_iter()
        .filter(|group| group.id() != METADATA)
        .map(|group| {
            let (id, partitions) = (group.id(), Arc::clone(partitions));
            let stamp = Arc::new(move || partitions.stamp(id).unwrap_or_default());
            GroupRoute {
                group: id,
                leadership: Arc::new(RaftLeadership::new(data.identity.node, group.clone())),
                log: Some(replicated_log(RaftLog::new(group, stamp))),
            }
        })
        .collect();
    let seams = RouterSeams {
        node: data.identity.node,
        clock: Arc::clone(clock),
        leaders: Arc::new(NoPeers),
        copies: Arc::new(NoPeers),
        spool: SpoolPlace {
            disk: Arc::new(LocalDisk),
            directory: data.spool(),
        },
        spawning: Spawning::OwnArbiters(config.threads),
    };
    Router::start(RouterOptions::default(), (*slots).clone(), routes, seams)
        .await
        .map_err(fail)
}

#[cfg(not(feature = "planted-bugs"))]
fn replicated_log(log: RaftLog) -> Arc<dyn ReplicatedLog> {
    Arc::new(log)
}

#[cfg(feature = "planted-bugs")]
fn replicated_log(log: RaftLog) -> Arc<dyn ReplicatedLog> {
    crate::planted_bugs::replicated_log(log)
}

/// Makes the admin token at the first start. It is written down before its key exists, so that a crash in between
/// leaves a token that the next start makes good.
async fn ensure_admin_token(
    metadata: &Metadata,
    data: &DataDirectory,
    actor: &Actor,
) -> Result<(), ExitError> {
    let secret = match data.admin_token()? {
        Some(text) => Secret::from_text(&text),
        None if metadata.directory().key_count() > 0 => return Ok(()),
        None => {
            let secret = metadata.new_secret(Scope::Admin);
            data.write_admin_token(secret.expose())?;
            secret
        }
    };
    let key = NewKey {
        name: "admin.token".to_owned(),
        scope: Scope::Admin,
        site: None,
        expires: None,
    };
    metadata
        .adopt_key(key, &secret, actor, "first start")
        .await
        .map_err(fail)?;
    Ok(())
}

fn gateway_settings(config: &Config) -> Result<GatewaySettings, ExitError> {
    let trusted_proxies = config
        .trusted_proxies
        .join(",")
        .parse()
        .map_err(|error| ExitError::new(Exit::Usage, format!("trusted_proxies: {error}")))?;
    Ok(GatewaySettings {
        trusted_proxies,
        site_rate: ringtail_gateway::Rate::per_second(config.site_events_per_second_max),
        address_rate: ringtail_gateway::Rate::per_second(config.address_events_per_second_max),
        ..GatewaySettings::default()
    })
}

struct SystemSeams(Arc<dyn Clock>);

impl Seams for SystemSeams {
    fn now(&self) -> UnixMillis {
        self.0.now()
    }

    fn random(&self) -> [u8; 32] {
        let mut bytes = [0; 32];
        getrandom::fill(&mut bytes).expect("the system has randomness");
        bytes
    }
}

/// What the data directory holds cannot be used.
fn damaged(error: impl std::fmt::Display) -> ExitError {
    ExitError::new(Exit::DataDirectory, error)
}

fn fail(error: impl std::fmt::Display) -> ExitError {
    ExitError::new(Exit::Failure, error)
}

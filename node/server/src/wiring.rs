//! The composition root: every part of a node, made in the order in which they need each other.

use std::{net::TcpListener, sync::Arc, time::Duration};

use futures::future::try_join_all;
use metrics_exporter_prometheus::PrometheusHandle;
use ringtail_checkpoint::{CheckpointStore, DiskFreeSpace, EmbeddedOptions, EmbeddedStore};
use ringtail_gateway::{CollectorService, Gateway, GatewaySettings, Salts};
use ringtail_log::{LocalDisk, LogOptions, SegmentLog};
use ringtail_metadata::{
    Actor, ClusterId, Description, METADATA_GROUP, Metadata, MetadataMachine, NewKey,
    NodeAddresses, RingLink, Scope, Seams, Secret,
};
use ringtail_partition::{ArbiterSpawner, LogSource, PartitionOptions};
use ringtail_peers::{Peers, caller};
use ringtail_proto::{NodeId, UnixMillis, wire::v1::collector_server::CollectorServer};
use ringtail_raft::{Channels, Group, Peering, RaftNode, RaftOptions, Staging};
use ringtail_router::{
    Clock, EventsService, GroupRoute, PeerNodes, Router, RouterOptions, RouterSeams, Spawning,
    SpoolPlace, SystemClock, TonicLink,
};
use tokio::task::{AbortHandle, JoinHandle};
use tonic::service::Routes;
use tonic_health::server::HealthReporter;

use crate::{
    Partitions, SiteMachine,
    collecting::{DirectorySites, RouterSink},
    config::Config,
    data_directory::{Addresses, DataDirectory, FOUNDER, Identity},
    disk_watch, duties,
    exit::{Exit, ExitError},
    health::{Health, NodeState},
    http::HealthView,
    log_source::SharedLog,
    reading::{LocalReplicas, PeerReplicas, QueriesService},
    ring::{
        self, Admission, LookService, Members, PeerServer, RingService, RouteLeadership,
        SaltsFollower, Surveyor, Vitals,
    },
    services::{Access, Admin, Imports, Lookup, Reports, Ring, Status},
    settings_pusher::SettingsPusher,
};

/// How long a node of several waits for its groups' leaders before it serves without.
const LEADERS_WAIT_MAX: Duration = Duration::from_secs(10);
/// Pause before the ring's salts are asked for again.
const SALTS_RETRY_INTERVAL: Duration = Duration::from_millis(200);
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
    /// Those that move groups and leaders about.
    pub(crate) keepers: Vec<AbortHandle>,
    pub(crate) peers: Peers,
    pub(crate) vitals: Arc<Vitals>,
    pub(crate) salts: Arc<Salts>,
    pub(crate) ring: Ring,
    pub(crate) description: Description,
    pub(crate) identity: Identity,
    actor: Actor,
    pub(crate) peer_server: PeerServer,
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
        let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
        let identity = &data.identity;
        let actor = Actor::new(format!("node {}", identity.node));
        let credentials = Arc::new(ring::credentials(data)?);
        let peers = Peers::new(&credentials).map_err(damaged)?;
        peers.set_addresses(&data.peers()?).map_err(damaged)?;
        let store = open_store(data)?;
        let raft = start_raft(data, &peers)?;
        let metadata = open_metadata(&raft, &store, &peers, &clock).await?;
        let metadata = metadata.with_first_guesses(peers.nodes());
        let members = Members::new(metadata.directory());
        let description = description(config, addresses);
        if identity.node == FOUNDER {
            let partitions = config.partitions;
            ring::found(identity, partitions, &raft, &metadata, &description, &actor).await?;
        }
        ring::learn(
            identity.node,
            &raft,
            &metadata,
            &credentials,
            peer,
            &description,
        )
        .await?;
        check_address(&metadata, identity.node, &description)?;
        check_cluster(data, &metadata)?;
        let directory = metadata.directory();
        let log_source: Arc<dyn LogSource> = Arc::new(SharedLog(Arc::clone(raft.log())));
        let partitions =
            open_partitions(config, data, &raft, &store, &log_source, &metadata).await?;
        let (router, followers) =
            start_router(config, data, &raft, &partitions, &metadata, &peers, &clock).await?;
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
        let local = LocalReplicas::new(identity.node, Arc::clone(&partitions), Arc::clone(&raft));
        let others = PeerReplicas::new(Arc::clone(&directory), local.clone(), peers.clone());
        let reports = Reports::new(
            access.clone(),
            Arc::clone(health),
            local.clone(),
            others.clone(),
            Arc::clone(&clock),
        );
        let imports = Imports::new(
            access.clone(),
            Arc::clone(health),
            Arc::clone(&gateway),
            router.clone(),
            local.clone(),
            others.clone(),
        );
        let lookup = Lookup {
            access: access.clone(),
            health: Arc::clone(health),
            local,
            peers: others,
            log: log_source,
            gateway: Arc::clone(&gateway),
        };
        let queries = QueriesService {
            reports: reports.clone(),
            lookup: lookup.clone(),
            imports: imports.clone(),
        };
        let look = LookService {
            node: identity.node,
            health: Arc::clone(health),
            raft: Arc::clone(&raft),
            clock: Arc::clone(&clock),
            gate: router.gate(),
        };
        let vitals = Vitals::new(identity.node, Arc::clone(&clock), router.gate());
        let vitals = Arc::new(vitals);
        let admission = Admission::server(
            metadata.clone(),
            Arc::clone(&credentials),
            Arc::clone(&salts),
            Arc::clone(&clock),
        );
        let events = EventsService::server(router.clone(), Arc::new(caller));
        let ring_service = RingService::server(metadata.clone(), Arc::clone(&salts));
        let routes = Routes::new(members.only(raft.service()))
            .add_service(admission)
            .add_service(members.only(ring_service))
            .add_service(members.only(look.clone().server()))
            .add_service(members.only(events))
            .add_service(members.only(queries.server()));
        let peer_server = PeerServer::start(peer, &credentials, routes)?;
        metrics::gauge!("ringtail_replicate_certificate_expires_seconds")
            .set(credentials.expires_unix_seconds() as f64);
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
            reports,
            imports,
            lookup,
            ring: Ring {
                access: access.clone(),
                metadata: metadata.clone(),
                partitions: Arc::clone(&partitions),
                surveyor: Surveyor {
                    node: identity.node,
                    metadata: metadata.clone(),
                    peers: peers.clone(),
                    own: look,
                },
                vitals: Arc::clone(&vitals),
                fingerprint: ring::fingerprint(&credentials).into(),
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
            peers,
            vitals,
            salts,
            description,
            identity: data.identity.clone(),
            duties: Vec::new(),
            keepers: Vec::new(),
            actor,
            peer_server,
        };
        (node.duties, node.keepers) = duties::start(&node, free, gate, config.disk_reserve_bytes);
        node.duties.extend(followers);
        Ok(node)
    }

    /// Waits until every group has applied what its log holds, then brings overdue settings in.
    pub(crate) async fn become_ready(&self, data: &DataDirectory) -> Result<(), ExitError> {
        let all = async {
            self.until_led().await?;
            if !self.is_alone() {
                self.catch_up().await?;
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

    /// Waits until every group here has a leader. In a ring of several nodes a group may have none for long: then the
    /// node goes on, and what is sent to the group waits in the spool.
    async fn until_led(&self) -> Result<(), ExitError> {
        let groups = self.raft.groups();
        let led = try_join_all(groups.iter().map(Group::ready));
        if self.is_alone() {
            return led.await.map(drop).map_err(fail);
        }
        match tokio::time::timeout(LEADERS_WAIT_MAX, led).await {
            Ok(led) => led.map(drop).map_err(fail),
            Err(_elapsed) => {
                tracing::warn!("some groups have no leader yet");
                Ok(())
            }
        }
    }

    /// Sites, keys and salts have to be the ring's before the first event is taken. A node that cannot ask for as long as
    /// this goes on with what it has: the others may be gone.
    async fn catch_up(&self) -> Result<(), ExitError> {
        let salts = self.salts_follower()?;
        let caught_up = async {
            if let Err(error) = self.metadata.read_barrier().await {
                tracing::warn!(%error, "metadata is that of the last run");
            }
            while let Err(error) = salts.fetch().await {
                tracing::debug!(error, "salts are asked for again");
                tokio::time::sleep(SALTS_RETRY_INTERVAL).await;
            }
        };
        if tokio::time::timeout(LEADERS_WAIT_MAX, caught_up)
            .await
            .is_err()
        {
            tracing::warn!("salts are those of the last run, or new ones");
        }
        Ok(())
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

fn start_raft(data: &DataDirectory, peers: &Peers) -> Result<Arc<RaftNode>, ExitError> {
    let disk = Arc::new(LocalDisk);
    let (log, report) = SegmentLog::open(disk.clone(), &data.log(), LogOptions::default())
        .map_err(|error| ExitError::new(Exit::DataDirectory, error))?;
    tracing::info!(?report, "log opened");
    let peering = Peering {
        channels: channels(peers),
        staging: Some(Staging::open(disk, &data.snapshots()).map_err(damaged)?),
    };
    let options = RaftOptions::new(data.identity.node);
    Ok(Arc::new(
        RaftNode::start(options, log, peering).map_err(fail)?,
    ))
}

fn channels(peers: &Peers) -> Channels {
    let peers = peers.clone();
    Arc::new(move |node| peers.channel(node))
}

fn open_store(data: &DataDirectory) -> Result<Arc<dyn CheckpointStore>, ExitError> {
    let store = EmbeddedStore::open(&data.store(), EmbeddedOptions::default())
        .map_err(|error| ExitError::new(Exit::DataDirectory, error))?;
    #[cfg(feature = "planted-bugs")]
    let store = crate::planted_bugs::store(Arc::new(store));
    #[cfg(not(feature = "planted-bugs"))]
    let store = Arc::new(store);
    Ok(store)
}

async fn open_metadata(
    raft: &RaftNode,
    store: &Arc<dyn CheckpointStore>,
    peers: &Peers,
    clock: &Arc<dyn Clock>,
) -> Result<Metadata, ExitError> {
    let machine = Arc::new(MetadataMachine::open(Arc::clone(store)).map_err(damaged)?);
    let group = raft
        .open_group(METADATA_GROUP, machine.clone())
        .await
        .map_err(damaged)?;
    let seams = Arc::new(SystemSeams(Arc::clone(clock)));
    let link = Arc::new(RingLink::new(channels(peers)));
    Ok(Metadata::new(group, machine, seams).with_link(link))
}

/// Store and identity have to be of the same ring.
fn check_cluster(data: &DataDirectory, metadata: &Metadata) -> Result<(), ExitError> {
    let cluster = ClusterId(data.identity.cluster.as_u128());
    let found = metadata.directory().cluster();
    let Some(found) = found.filter(|found| found.id != cluster) else {
        return Ok(());
    };
    let message = format!(
        "{} belongs to cluster {}, its store to cluster {}: parts of two data directories were mixed",
        data.path().display(),
        cluster,
        found.id
    );
    Err(ExitError::new(Exit::DataDirectory, message))
}

/// A node of several has to be found by the others.
fn check_address(
    metadata: &Metadata,
    node: NodeId,
    description: &Description,
) -> Result<(), ExitError> {
    let nodes = metadata.directory().nodes();
    let has_others = nodes
        .iter()
        .any(|other| other.is_member() && other.id != node);
    match has_others {
        true => ring::check_advertised(&description.addresses.peer),
        false => Ok(()),
    }
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

async fn open_partitions(
    config: &Config,
    data: &DataDirectory,
    raft: &RaftNode,
    store: &Arc<dyn CheckpointStore>,
    log: &Arc<dyn LogSource>,
    metadata: &Metadata,
) -> Result<Arc<Partitions>, ExitError> {
    let directory = metadata.directory();
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
    let node = data.identity.node;
    let hosted = ring::hosted_by(metadata, node);
    let partitions = Partitions::open(
        raft,
        (*directory.slots()).clone(),
        hosted,
        SiteMachine::default(),
        seams,
        options,
    )
    .await
    .map_err(damaged)?;
    if node == FOUNDER {
        // Does nothing for groups that have members.
        let mine = ring::never_moved(metadata, node, &partitions.hosted());
        partitions.initialize_single(mine).await.map_err(fail)?;
    }
    Ok(partitions)
}

async fn start_router(
    config: &Config,
    data: &DataDirectory,
    raft: &Arc<RaftNode>,
    partitions: &Arc<Partitions>,
    metadata: &Metadata,
    peers: &Peers,
    clock: &Arc<dyn Clock>,
) -> Result<(Router, Vec<JoinHandle<()>>), ExitError> {
    let node = data.identity.node;
    let slots = metadata.directory().slots();
    let (mut routes, mut followers) = (Vec::new(), Vec::new());
    for group in slots.partitions().into_keys() {
        let (leadership, follower) =
            RouteLeadership::start(node, group, Arc::clone(raft), metadata.clone());
        followers.push(follower);
        let local = raft.group(group);
        routes.push(GroupRoute {
            group,
            leadership: Arc::new(leadership),
            log: local.map(|group| ring::log_of(group, partitions)),
        });
    }
    let options = RouterOptions::default();
    let others: PeerNodes = {
        let peers = peers.clone();
        Arc::new(move || peers.nodes().into_iter().collect())
    };
    let link = Arc::new(TonicLink::new(
        node,
        options,
        Arc::clone(clock),
        channels(peers),
        others,
    ));
    let seams = RouterSeams {
        node,
        clock: Arc::clone(clock),
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
    let router = Router::start(options, (*slots).clone(), routes, seams).await;
    Ok((router.map_err(fail)?, followers))
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
        None if metadata.directory().key_count() > 0 || data.identity.node != FOUNDER => {
            return Ok(());
        }
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

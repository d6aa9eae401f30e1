//! What the node answers: people and programs through HTTP and gRPC, the other nodes through its peer address.

use std::{net::TcpListener, sync::Arc};

use ringtail_gateway::{Gateway, Salts};
use ringtail_peers::caller;
use ringtail_router::EventsService;
use tokio::sync::Semaphore;
use tonic::service::Routes;

use super::{Mirroring, Past, ground::Ground, groups::Groups};
use crate::{
    exit::ExitError,
    health::Health,
    reading::{LocalReplicas, PeerReplicas, QueriesService},
    ring::{self, Admission, LookService, Members, PeerServer, RingService, Surveyor, Vitals},
    services::{
        Access, Admin, Archive, FeedsService, Imports, Lookup, PAST_TURNS, Realtime, Reports,
        Reprocess, Ring, Status, Subscriptions,
    },
    settings_pusher::SettingsPusher,
};

/// The services of the node; clones are the same.
#[derive(Clone)]
pub(crate) struct Services {
    pub(crate) admin: Admin,
    pub(crate) reports: Reports,
    pub(crate) realtime: Realtime,
    pub(crate) imports: Imports,
    pub(crate) lookup: Lookup,
    pub(crate) ring: Ring,
    pub(crate) archive: Archive,
    pub(crate) subscriptions: Subscriptions,
    pub(crate) reprocess: Reprocess,
    pub(crate) status: Status,
}

/// Parts that the services use beside ground and groups.
pub(super) struct Helpers<'a> {
    pub(super) past: &'a Past,
    pub(super) mirroring: &'a Mirroring,
    pub(super) health: &'a Arc<Health>,
    pub(super) gateway: &'a Arc<Gateway>,
    pub(super) salts: &'a Arc<Salts>,
    pub(super) settings: &'a Arc<SettingsPusher>,
    pub(super) vitals: &'a Arc<Vitals>,
}

impl Services {
    pub(super) fn new(ground: &Ground, groups: &Groups, helpers: &Helpers<'_>) -> Self {
        let directory = ground.metadata.directory();
        let access = Access::new(Arc::clone(&directory), Arc::clone(&ground.clock));
        let (partitions, raft) = (Arc::clone(&groups.partitions), Arc::clone(&ground.raft));
        let node = ground.identity.node;
        let local = LocalReplicas::new(node, Arc::clone(&directory), partitions, raft);
        let peers = PeerReplicas::new(directory, local.clone(), ground.peers.clone());
        let reports = Reports::new(
            access.clone(),
            ground.metadata.clone(),
            Arc::clone(helpers.health),
            local.clone(),
            peers.clone(),
            Arc::clone(&ground.clock),
        );
        let ring = ring(ground, groups, &access, helpers);
        Self {
            admin: admin(ground, &access, helpers),
            reprocess: Reprocess {
                access: access.clone(),
                metadata: ground.metadata.clone(),
                surveyor: ring.surveyor.clone(),
                reports: reports.clone(),
            },
            reports,
            realtime: Realtime::new(
                access.clone(),
                Arc::clone(helpers.health),
                local.clone(),
                peers.clone(),
                Arc::clone(&ground.clock),
            ),
            imports: Imports::new(
                access.clone(),
                Arc::clone(helpers.health),
                Arc::clone(helpers.gateway),
                groups.router.clone(),
                local.clone(),
                peers.clone(),
            ),
            lookup: Lookup {
                access: access.clone(),
                health: Arc::clone(helpers.health),
                local,
                peers,
                log: Arc::clone(&groups.log),
                gateway: Arc::clone(helpers.gateway),
            },
            ring,
            archive: Archive {
                access: access.clone(),
                partitions: Arc::clone(&groups.partitions),
                past: helpers.past.clone(),
            },
            subscriptions: subscriptions(ground, groups, &access, helpers),
            status: status(ground, groups, access, helpers),
        }
    }

    /// Answers the other nodes; whoever is none of the ring may only ask to be let in.
    pub(super) fn answer_peers(
        &self,
        peer: &TcpListener,
        ground: &Ground,
        groups: &Groups,
        helpers: &Helpers<'_>,
    ) -> Result<PeerServer, ExitError> {
        let metadata = &ground.metadata;
        let members = Members::new(metadata.directory());
        let (credentials, clock) = (Arc::clone(&ground.credentials), Arc::clone(&ground.clock));
        let salts = Arc::clone(helpers.salts);
        let peers = ground.peers.clone();
        let admission = Admission::server(metadata.clone(), peers, credentials, salts, clock);
        let events = EventsService::server(groups.router.clone(), Arc::new(caller));
        let ring = RingService::server(metadata.clone(), Arc::clone(helpers.salts));
        let queries = QueriesService {
            reports: self.reports.clone(),
            realtime: self.realtime.clone(),
            lookup: self.lookup.clone(),
            imports: self.imports.clone(),
        };
        let feeds = FeedsService::new(self.subscriptions.clone());
        let mut routes = Routes::new(members.only(ground.raft.service()))
            .add_service(admission)
            .add_service(members.only(ring))
            .add_service(members.only(look(ground, groups, helpers).server()))
            .add_service(members.only(events))
            .add_service(members.only(queries.server()))
            .add_service(members.only(feeds.server()));
        if let Some(objects) = helpers.past.objects() {
            routes = routes.add_service(members.only(objects.server()));
        }
        PeerServer::start(peer, &ground.credentials, routes)
    }
}

fn admin(ground: &Ground, access: &Access, helpers: &Helpers<'_>) -> Admin {
    Admin {
        access: access.clone(),
        metadata: ground.metadata.clone(),
        directory: ground.metadata.directory(),
        settings: Arc::clone(helpers.settings),
        clock: Arc::clone(&ground.clock),
    }
}

fn ring(ground: &Ground, groups: &Groups, access: &Access, helpers: &Helpers<'_>) -> Ring {
    Ring {
        access: access.clone(),
        metadata: ground.metadata.clone(),
        partitions: Arc::clone(&groups.partitions),
        surveyor: Surveyor {
            node: ground.identity.node,
            metadata: ground.metadata.clone(),
            peers: ground.peers.clone(),
            own: look(ground, groups, helpers),
        },
        vitals: Arc::clone(helpers.vitals),
        fingerprint: ring::fingerprint(&ground.credentials).into(),
    }
}

fn subscriptions(
    ground: &Ground,
    groups: &Groups,
    access: &Access,
    helpers: &Helpers<'_>,
) -> Subscriptions {
    Subscriptions {
        access: access.clone(),
        health: Arc::clone(helpers.health),
        node: ground.identity.node,
        partitions: Arc::clone(&groups.partitions),
        past: helpers.past.clone(),
        directory: ground.metadata.directory(),
        peers: ground.peers.clone(),
        past_turns: Arc::new(Semaphore::new(PAST_TURNS)),
        open: Arc::default(),
    }
}

fn look(ground: &Ground, groups: &Groups, helpers: &Helpers<'_>) -> LookService {
    LookService {
        node: ground.identity.node,
        health: Arc::clone(helpers.health),
        raft: Arc::clone(&ground.raft),
        router: groups.router.clone(),
        vitals: Arc::clone(helpers.vitals),
        partitions: Arc::clone(&groups.partitions),
        past: helpers.past.clone(),
    }
}

fn status(ground: &Ground, groups: &Groups, access: Access, helpers: &Helpers<'_>) -> Status {
    Status {
        access,
        health: Arc::clone(helpers.health),
        identity: ground.identity.clone(),
        raft: Arc::clone(&ground.raft),
        partitions: Arc::clone(&groups.partitions),
        directory: ground.metadata.directory(),
        store: Arc::clone(&ground.store),
        router: groups.router.clone(),
        past: helpers.past.clone(),
        mirroring: helpers.mirroring.clone(),
    }
}

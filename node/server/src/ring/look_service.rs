//! What this node tells the others about how it is.

use std::sync::Arc;

use ringtail_peers::caller;
use ringtail_proto::{
    GroupId, NodeId, SiteGeneration, SiteId,
    wire::peer::{
        self,
        look_server::{Look, LookServer},
    },
};
use ringtail_raft::{Group, LogPosition, RaftNode};
use ringtail_router::Router;
use tonic::{Request, Response, Status};

use super::Vitals;
use crate::{Partitions, health::Health, wiring::Past};

/// Sites whose generations are told at once; a caller asks for those of one page.
const SITES_MAX: usize = 1_000;

/// Answers nodes of the ring.
#[derive(Clone)]
pub(crate) struct LookService {
    pub(crate) node: NodeId,
    pub(crate) health: Arc<Health>,
    pub(crate) raft: Arc<RaftNode>,
    pub(crate) router: Router,
    pub(crate) vitals: Arc<Vitals>,
    pub(crate) partitions: Arc<Partitions>,
    pub(crate) past: Past,
}

impl LookService {
    pub(crate) fn server(self) -> LookServer<Self> {
        LookServer::new(self)
    }

    /// The node as it is now.
    pub(crate) fn look(&self, request: &peer::NodeLookRequest) -> peer::NodeLookReply {
        let groups = self.raft.groups();
        // It costs a walk over the sites in memory, and only who asks for generations wants to know.
        let is_archive_asked = !request.sites.is_empty();
        let looks = groups.iter().map(|group| peer::GroupLook {
            archive: is_archive_asked.then(|| self.archive(group.id())).flatten(),
            generations: self.generations(group, request),
            ..look_at(self.node, group)
        });
        peer::NodeLookReply {
            state: self.health.state().name().to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            groups: looks.collect(),
            spool_files: self.router.spool_files_waiting() as u64,
        }
    }

    fn archive(&self, group: GroupId) -> Option<peer::ArchiveLook> {
        if !self.past.is_archived() {
            return None;
        }
        let state = self.partitions.archive_state(group).ok()?;
        Some(peer::ArchiveLook {
            sealed: state.sealed.map(|index| index.0),
            began_after: state.began.map(|began| began.after.0),
            began_ms: state.began.unwrap_or_default().stamp.0,
        })
    }

    fn generations(
        &self,
        group: &Group,
        request: &peer::NodeLookRequest,
    ) -> Vec<peer::GenerationLook> {
        let sites = request.sites.iter().take(SITES_MAX).copied().map(SiteId);
        let slots = self.partitions.slots();
        let sites = sites.filter(|site| slots.group_of(*site) == group.id());
        let applied = group.metrics().applied;
        let through = applied.map_or(0, |position| position.index.0);
        let looks = sites.filter_map(|site| {
            let generations = self.partitions.generations(site).ok()?;
            let looks = generations.live.iter().map(|generation| {
                let site = SiteGeneration {
                    site,
                    generation: *generation,
                };
                let is_complete = generations.complete.contains(generation);
                let progress = self.past.build_progress(site).unwrap_or_default();
                peer::GenerationLook {
                    site: site.site.0,
                    generation: generation.0,
                    is_complete,
                    built: progress.at.0,
                    through: if is_complete { 0 } else { through },
                    events: progress.events,
                }
            });
            Some(looks.collect::<Vec<_>>())
        });
        looks.flatten().collect()
    }
}

#[tonic::async_trait]
impl Look for LookService {
    async fn node(
        &self,
        request: Request<peer::NodeLookRequest>,
    ) -> Result<Response<peer::NodeLookReply>, Status> {
        Ok(Response::new(self.look(request.get_ref())))
    }

    async fn vitals(
        &self,
        _request: Request<peer::VitalsRequest>,
    ) -> Result<Response<peer::VitalsReply>, Status> {
        Ok(Response::new(self.vitals.own()))
    }

    async fn leaving(
        &self,
        request: Request<peer::LeavingRequest>,
    ) -> Result<Response<peer::LeavingReply>, Status> {
        self.vitals.note_leaving(caller(&request)?);
        Ok(Response::new(peer::LeavingReply {}))
    }
}

fn look_at(me: NodeId, group: &Group) -> peer::GroupLook {
    let index = |position: Option<LogPosition>| position.map_or(0, |position| position.index.0);
    let metrics = group.metrics();
    let voters = group.members().voters;
    let replication = group.replication().unwrap_or_default();
    let replicas = replication.into_iter().map(|(node, matched)| {
        // The leader's own log is ahead of what it was told about it.
        let own = (node == me).then_some(metrics.last).flatten();
        peer::ReplicaLook {
            node: node.0,
            is_voter: voters.contains(&node),
            matched: own.or(matched).map(|index| index.0),
        }
    });
    peer::GroupLook {
        group: group.id().0,
        term: metrics.term,
        leader: metrics.leader.map(|node| node.0),
        last: metrics.last.unwrap_or_default().0,
        committed: index(metrics.committed),
        applied: index(metrics.applied),
        purged: index(metrics.purged),
        replicas: match metrics.is_leader {
            true => replicas.collect(),
            false => Vec::new(),
        },
        ..peer::GroupLook::default()
    }
}

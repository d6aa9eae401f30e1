//! What this node tells the others about how it is.

use std::sync::Arc;

use ringtail_peers::caller;
use ringtail_proto::{
    NodeId,
    wire::peer::{
        self,
        look_server::{Look, LookServer},
    },
};
use ringtail_raft::{Group, LogPosition, RaftNode};
use ringtail_router::Router;
use tonic::{Request, Response, Status};

use super::Vitals;
use crate::health::Health;

/// Answers nodes of the ring.
#[derive(Clone)]
pub(crate) struct LookService {
    pub(crate) node: NodeId,
    pub(crate) health: Arc<Health>,
    pub(crate) raft: Arc<RaftNode>,
    pub(crate) router: Router,
    pub(crate) vitals: Arc<Vitals>,
}

impl LookService {
    pub(crate) fn server(self) -> LookServer<Self> {
        LookServer::new(self)
    }

    /// The node as it is now.
    pub(crate) fn look(&self) -> peer::NodeLookReply {
        let groups = self.raft.groups();
        peer::NodeLookReply {
            state: self.health.state().name().to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            groups: groups
                .iter()
                .map(|group| look_at(self.node, group))
                .collect(),
            spool_files: self.router.spool_files_waiting() as u64,
        }
    }
}

#[tonic::async_trait]
impl Look for LookService {
    async fn node(
        &self,
        _request: Request<peer::NodeLookRequest>,
    ) -> Result<Response<peer::NodeLookReply>, Status> {
        Ok(Response::new(self.look()))
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
    }
}

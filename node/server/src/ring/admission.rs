//! Lets new nodes into the ring: the only service for callers without a certificate.

use std::{net::IpAddr, sync::Arc};

use ringtail_gateway::Salts;
use ringtail_metadata::{
    Actor, Description, JoinAttempt, Metadata, MetadataError, NewNode, NodeAddresses, PeerReach,
};
use ringtail_peers::{NodeCredentials, PeerInfo, Peers};
use ringtail_proto::{
    ErrorKind,
    wire::peer::{
        self,
        joining_server::{Joining, JoiningServer},
    },
};
use ringtail_router::Clock;
use tokio::sync::Semaphore;
use tonic::{Code, Request, Response, Status};

use super::{lost_node::LostNodes, refusals::Refusals};

/// Largest request of a stranger.
const REQUEST_BYTES_MAX: usize = 8 << 10;
/// Joins at once: a stranger cannot keep the ring busy.
const JOINS_MAX: usize = 4;

/// Admits nodes that bring a good token.
pub(crate) struct Admission {
    metadata: Metadata,
    credentials: Arc<NodeCredentials>,
    salts: Arc<Salts>,
    clock: Arc<dyn Clock>,
    joins: Semaphore,
    refusals: Refusals,
    lost: LostNodes,
}

impl Admission {
    pub(crate) fn server(
        metadata: Metadata,
        peers: Peers,
        credentials: Arc<NodeCredentials>,
        salts: Arc<Salts>,
        clock: Arc<dyn Clock>,
    ) -> JoiningServer<Self> {
        // A series that begins with its first failure hides it.
        metrics::counter!("ringtail_replicate_joins_refused_total").increment(0);
        let admission = Self {
            lost: LostNodes::new(credentials.identity().node, metadata.clone(), peers),
            metadata,
            credentials,
            salts,
            clock,
            joins: Semaphore::new(JOINS_MAX),
            refusals: Refusals::default(),
        };
        JoiningServer::new(admission).max_decoding_message_size(REQUEST_BYTES_MAX)
    }

    /// What is refused here never reaches the log. A token that this node has not heard of may be news.
    async fn check(&self, joiner: &NewNode, info: PeerInfo) -> Result<(), Status> {
        let checked = match self.metadata.check_join(joiner) {
            Err(MetadataError::UnknownJoinToken { .. }) => {
                self.metadata.read_barrier().await.map_err(refusal)?;
                self.metadata.check_join(joiner)
            }
            checked => checked,
        };
        if let Err(MetadataError::AddressTaken { node, .. }) = checked {
            self.check_distance(joiner, info)?;
            let (from, now) = (info.from.ip(), self.clock.elapsed());
            self.lost.make_way(node, joiner, from, now).await?;
            return self.metadata.check_join(joiner).map_err(refusal);
        }
        checked.map_err(refusal)?;
        self.check_distance(joiner, info)
    }

    /// Loopback addresses are good for nodes on one machine only.
    fn check_distance(&self, joiner: &NewNode, info: PeerInfo) -> Result<(), Status> {
        if !info.is_remote() {
            return Ok(());
        }
        let nodes = self.metadata.directory().nodes();
        let members = nodes.iter().filter(|node| node.is_member());
        let others = members.map(|node| &node.addresses);
        let unreachable = others
            .chain([&joiner.description.addresses])
            .find(|addresses| addresses.peer_reach() == PeerReach::SameMachine);
        match unreachable {
            None => Ok(()),
            Some(addresses) => Err(Status::failed_precondition(format!(
                "peer address {} is reached on its own machine only: start that node with --peer or peer_advertised \
                 as the others reach it",
                addresses.peer
            ))),
        }
    }

    async fn admit(
        &self,
        request: peer::JoinRequest,
        info: PeerInfo,
    ) -> Result<peer::JoinReply, Status> {
        let joiner = new_node(request)?;
        self.check(&joiner, info).await?;
        let by = Actor::new(format!("join token {}", joiner.secret.token));
        let node = self.metadata.join(joiner, &by).await.map_err(refusal)?;
        tracing::info!(node = %node.id, peer = node.addresses.peer, "a node joins");
        let authority = self.credentials.authority();
        let nodes = self.metadata.directory().nodes();
        let nodes = nodes.iter().filter(|node| node.is_member());
        let cluster = self.credentials.identity().cluster;
        Ok(peer::JoinReply {
            cluster: cluster.to_be_bytes().to_vec().into(),
            node: node.id.0,
            authority_certificate: authority.certificate().to_vec().into(),
            authority_key: authority.key().into(),
            nodes: nodes
                .map(|node| peer::PeerNode {
                    id: node.id.0,
                    addresses: Some(peer::NodeAddresses {
                        http: node.addresses.http.clone(),
                        grpc: node.addresses.grpc.clone(),
                        peer: node.addresses.peer.clone(),
                    }),
                })
                .collect(),
            salts: self.salts.export().into(),
        })
    }

    fn note_refused(&self, from: IpAddr, status: &Status) {
        metrics::counter!("ringtail_replicate_joins_refused_total").increment(1);
        tracing::warn!(%from, reason = status.message(), "a node may not join");
        // Whoever is told to come again does so.
        if status.code() != Code::Unavailable {
            self.refusals.note(from, self.clock.elapsed());
        }
    }
}

#[tonic::async_trait]
impl Joining for Admission {
    async fn join(
        &self,
        request: Request<peer::JoinRequest>,
    ) -> Result<Response<peer::JoinReply>, Status> {
        let info = request.extensions().get::<PeerInfo>().copied();
        let info = info.ok_or_else(|| Status::internal("a connection without ends"))?;
        let from = info.from.ip();
        if self.refusals.is_shut_out(from, self.clock.elapsed()) {
            metrics::counter!("ringtail_replicate_joins_refused_total").increment(1);
            let text = "too many attempts to join were refused; wait a minute";
            return Err(Status::resource_exhausted(text));
        }
        let _permit = self
            .joins
            .try_acquire()
            .map_err(|_| Status::unavailable("other nodes are joining"))?;
        let admitted = self.admit(request.into_inner(), info).await;
        admitted
            .map(Response::new)
            .inspect_err(|status| self.note_refused(from, status))
    }
}

fn new_node(request: peer::JoinRequest) -> Result<NewNode, Status> {
    let invalid = |reason: &str| Status::invalid_argument(reason.to_owned());
    let addresses = request
        .addresses
        .ok_or_else(|| invalid("a node has addresses"))?;
    let attempt = <[u8; 16]>::try_from(&request.attempt[..])
        .map_err(|_| invalid("an attempt has 16 bytes"))?;
    let secret = request
        .token
        .parse()
        .map_err(|error: MetadataError| invalid(&error.to_string()))?;
    Ok(NewNode {
        secret,
        attempt: JoinAttempt(attempt),
        description: Description {
            addresses: NodeAddresses {
                http: addresses.http,
                grpc: addresses.grpc,
                peer: addresses.peer,
            },
            zone: request.zone,
            feature_level: request.feature_level,
        },
    })
}

fn refusal(error: MetadataError) -> Status {
    match error.kind() {
        ErrorKind::Unavailable | ErrorKind::InDoubt | ErrorKind::Overloaded => {
            Status::unavailable(error.to_string())
        }
        _ => Status::permission_denied(error.to_string()),
    }
}

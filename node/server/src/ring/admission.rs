//! Lets new nodes into the ring: the only service for callers without a certificate.

use std::sync::Arc;

use ringtail_metadata::{
    Actor, Description, JoinAttempt, Metadata, MetadataError, NewNode, NodeAddresses,
};
use ringtail_peers::NodeCredentials;
use ringtail_proto::{
    ErrorKind,
    wire::peer::{
        self,
        joining_server::{Joining, JoiningServer},
    },
};
use tokio::sync::Semaphore;
use tonic::{Request, Response, Status};

/// Largest request of a stranger.
const REQUEST_BYTES_MAX: usize = 8 << 10;
/// Joins at once: a stranger cannot keep the ring busy.
const JOINS_MAX: usize = 4;

/// Admits nodes that bring a good token.
pub(crate) struct Admission {
    metadata: Metadata,
    credentials: Arc<NodeCredentials>,
    joins: Semaphore,
}

impl Admission {
    pub(crate) fn server(
        metadata: Metadata,
        credentials: Arc<NodeCredentials>,
    ) -> JoiningServer<Self> {
        let admission = Self {
            metadata,
            credentials,
            joins: Semaphore::new(JOINS_MAX),
        };
        JoiningServer::new(admission).max_decoding_message_size(REQUEST_BYTES_MAX)
    }
}

#[tonic::async_trait]
impl Joining for Admission {
    async fn join(
        &self,
        request: Request<peer::JoinRequest>,
    ) -> Result<Response<peer::JoinReply>, Status> {
        let _permit = self
            .joins
            .try_acquire()
            .map_err(|_| Status::unavailable("other nodes are joining"))?;
        let joiner = new_node(request.into_inner())?;
        let by = Actor::new(format!("join token {}", joiner.secret.token));
        let node = self.metadata.join(joiner, &by).await.map_err(refusal)?;
        tracing::info!(node = %node.id, peer = node.addresses.peer, "a node joins");
        let authority = self.credentials.authority();
        let nodes = self.metadata.directory().nodes();
        let nodes = nodes.iter().filter(|node| node.is_member());
        Ok(Response::new(peer::JoinReply {
            cluster: self
                .credentials
                .identity()
                .cluster
                .to_be_bytes()
                .to_vec()
                .into(),
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
        }))
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
    metrics::counter!("ringtail_ring_joins_refused_total").increment(1);
    tracing::warn!(%error, "a node may not join");
    match error.kind() {
        ErrorKind::Unavailable | ErrorKind::InDoubt | ErrorKind::Overloaded => {
            Status::unavailable(error.to_string())
        }
        _ => Status::permission_denied(error.to_string()),
    }
}

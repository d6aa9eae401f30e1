//! What other nodes of the ring ask about its metadata and its salts.

use std::sync::Arc;

use ringtail_gateway::Salts;
use ringtail_metadata::{ENTRY_BYTES_MAX, Metadata};
use ringtail_peers::caller;
use ringtail_proto::{
    NodeId,
    wire::peer::{
        self,
        ring_server::{Ring, RingServer},
    },
};
use tonic::{Request, Response, Status};

/// Answers nodes of the ring.
pub(crate) struct RingService {
    metadata: Metadata,
    salts: Arc<Salts>,
}

impl RingService {
    pub(crate) fn server(metadata: Metadata, salts: Arc<Salts>) -> RingServer<Self> {
        RingServer::new(Self { metadata, salts }).max_decoding_message_size(2 * ENTRY_BYTES_MAX)
    }

    /// The calling node: one that has left the ring still has its certificate.
    fn member<T>(&self, request: &Request<T>) -> Result<NodeId, Status> {
        let node = caller(request)?;
        let known = self.metadata.directory().node(node);
        match known.is_some_and(|known| known.is_member()) {
            true => Ok(node),
            false => Err(Status::permission_denied(format!(
                "node {node} is not of the ring"
            ))),
        }
    }
}

#[tonic::async_trait]
impl Ring for RingService {
    async fn propose(
        &self,
        request: Request<peer::ProposeRequest>,
    ) -> Result<Response<peer::ProposeReply>, Status> {
        self.member(&request)?;
        let reply = self.metadata.answer_propose(request.into_inner()).await?;
        Ok(Response::new(reply))
    }

    async fn read_index(
        &self,
        request: Request<peer::ReadIndexRequest>,
    ) -> Result<Response<peer::ReadIndexReply>, Status> {
        self.member(&request)?;
        Ok(Response::new(self.metadata.answer_read_index().await?))
    }

    async fn fetch_salts(
        &self,
        request: Request<peer::FetchSaltsRequest>,
    ) -> Result<Response<peer::FetchSaltsReply>, Status> {
        let node = self.member(&request)?;
        tracing::debug!(%node, "salts handed out");
        let salts = self.salts.export().into_bytes().into();
        Ok(Response::new(peer::FetchSaltsReply { salts }))
    }
}

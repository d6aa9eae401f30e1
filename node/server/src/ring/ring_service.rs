//! What other nodes of the ring ask about its metadata and its salts.

use std::sync::Arc;

use ringtail_gateway::Salts;
use ringtail_metadata::{ENTRY_BYTES_MAX, Metadata};
use ringtail_peers::caller;
use ringtail_proto::wire::peer::{
    self,
    ring_server::{Ring, RingServer},
};
use tonic::{Request, Response, Status};

/// Answers nodes of the ring; mounted for members only.
pub(crate) struct RingService {
    metadata: Metadata,
    salts: Arc<Salts>,
}

impl RingService {
    pub(crate) fn server(metadata: Metadata, salts: Arc<Salts>) -> RingServer<Self> {
        RingServer::new(Self { metadata, salts }).max_decoding_message_size(2 * ENTRY_BYTES_MAX)
    }
}

#[tonic::async_trait]
impl Ring for RingService {
    async fn propose(
        &self,
        request: Request<peer::ProposeRequest>,
    ) -> Result<Response<peer::ProposeReply>, Status> {
        let reply = self.metadata.answer_propose(request.into_inner()).await?;
        Ok(Response::new(reply))
    }

    async fn read_index(
        &self,
        _request: Request<peer::ReadIndexRequest>,
    ) -> Result<Response<peer::ReadIndexReply>, Status> {
        Ok(Response::new(self.metadata.answer_read_index().await?))
    }

    async fn fetch_salts(
        &self,
        request: Request<peer::FetchSaltsRequest>,
    ) -> Result<Response<peer::FetchSaltsReply>, Status> {
        let node = caller(&request)?;
        tracing::debug!(%node, "salts handed out");
        let salts = self.salts.export().into_bytes().into();
        Ok(Response::new(peer::FetchSaltsReply { salts }))
    }
}

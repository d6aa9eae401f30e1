//! What a node answers its peers about the metadata.

use ringtail_metadata::Metadata;
use ringtail_proto::wire::peer::{
    FetchSaltsReply, FetchSaltsRequest, ProposeReply, ProposeRequest, ReadIndexReply,
    ReadIndexRequest, ring_server::Ring,
};
use tonic::{Request, Response, Status};

/// Answers nodes of the ring.
pub(crate) struct RingService(pub(crate) Metadata);

#[tonic::async_trait]
impl Ring for RingService {
    async fn propose(
        &self,
        request: Request<ProposeRequest>,
    ) -> Result<Response<ProposeReply>, Status> {
        let reply = self.0.answer_propose(request.into_inner()).await;
        reply.map(Response::new)
    }

    async fn read_index(
        &self,
        _request: Request<ReadIndexRequest>,
    ) -> Result<Response<ReadIndexReply>, Status> {
        self.0.answer_read_index().await.map(Response::new)
    }

    /// Visitors of the simulator name themselves, so nobody needs salts.
    async fn fetch_salts(
        &self,
        _request: Request<FetchSaltsRequest>,
    ) -> Result<Response<FetchSaltsReply>, Status> {
        Err(Status::unimplemented("no salts are simulated"))
    }
}

//! What a node answers its peers about the metadata, as a service.

use async_trait::async_trait;
use ringtail_metadata::Metadata;
use ringtail_proto::wire::peer::{
    FetchSaltsReply, FetchSaltsRequest, ProposeReply, ProposeRequest, ReadIndexReply,
    ReadIndexRequest,
    ring_server::{Ring, RingServer},
};
use tonic::{Request, Response, Status};

struct Service(Metadata);

/// The service, ready to be mounted.
pub(crate) fn ring_server(metadata: Metadata) -> RingServer<impl Ring> {
    RingServer::new(Service(metadata))
}

#[async_trait]
impl Ring for Service {
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

    async fn fetch_salts(
        &self,
        _request: Request<FetchSaltsRequest>,
    ) -> Result<Response<FetchSaltsReply>, Status> {
        Err(Status::unimplemented("not the metadata's"))
    }
}

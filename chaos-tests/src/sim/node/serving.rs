//! What a simulated node answers the others.

use std::{sync::Arc, time::Duration};

use ringtail_metadata::Metadata;
use ringtail_proto::wire::peer::ring_server::RingServer;
use ringtail_raft::RaftNode;
use ringtail_router::{EventsService, Router};
use tokio::task::JoinHandle;
use tonic::{Status, service::Routes, transport::Server};

use crate::sim::{
    network::{From, listen},
    ring::Ring,
    ring_service::RingService,
};

const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(2);
const KEEP_ALIVE_WAIT_MAX: Duration = Duration::from_secs(4);

/// All services of a node of the ring.
pub(super) fn routes(
    ring: &Arc<Ring>,
    raft: &RaftNode,
    metadata: &Metadata,
    router: &Router,
) -> Routes {
    let callers = Arc::clone(ring);
    let events = EventsService::server(
        router.clone(),
        Arc::new(move |request| {
            let from = request.extensions().get::<From>();
            from.and_then(|from| callers.node_at(from.0))
                .ok_or_else(|| Status::unauthenticated("nobody's address"))
        }),
    );
    Routes::new(raft.service())
        .add_service(RingServer::new(RingService(metadata.clone())))
        .add_service(events)
}

/// Serves until the task is aborted.
pub(super) async fn serve(routes: Routes) -> anyhow::Result<JoinHandle<()>> {
    let incoming = listen().await?;
    let server = Server::builder()
        .http2_keepalive_interval(Some(KEEP_ALIVE_INTERVAL))
        .http2_keepalive_timeout(Some(KEEP_ALIVE_WAIT_MAX))
        .add_routes(routes);
    Ok(tokio::task::spawn_local(async move {
        drop(server.serve_with_incoming(Box::pin(incoming)).await);
    }))
}

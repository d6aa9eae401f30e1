//! The server that faces the other nodes.

use std::net::TcpListener;

use ringtail_peers::{NodeCredentials, PeerInfo, PeerListener};
use tokio::{sync::oneshot, task::JoinHandle};
use tonic::{
    Request, Status,
    service::{InterceptorLayer, Routes},
    transport::Server,
};

use crate::exit::{Exit, ExitError};

const STREAM_WINDOW_BYTES: u32 = 8 << 20;
const CONNECTION_WINDOW_BYTES: u32 = 32 << 20;

/// The running server; it ends when it is dropped.
pub(crate) struct PeerServer {
    _stop: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

impl PeerServer {
    /// Serves on a socket. The caller keeps a handle on the socket, so that the address stays its own in between.
    pub(crate) fn start(
        socket: &TcpListener,
        credentials: &NodeCredentials,
        routes: Routes,
    ) -> Result<Self, ExitError> {
        let fail =
            |error: &dyn std::fmt::Display| ExitError::new(Exit::Address, format!("peer: {error}"));
        let socket = socket.try_clone().map_err(|error| fail(&error))?;
        let listener = PeerListener::start(socket, credentials).map_err(|error| fail(&error))?;
        let (stop, stopped) = oneshot::channel::<()>();
        let server = Server::builder()
            .initial_stream_window_size(Some(STREAM_WINDOW_BYTES))
            .initial_connection_window_size(Some(CONNECTION_WINDOW_BYTES))
            .layer(InterceptorLayer::new(keep_peer_info))
            .add_routes(routes);
        let task = tokio::spawn(async move {
            tokio::select! {
                served = server.serve_with_incoming(listener.into_stream()) => {
                    if let Err(error) = served {
                        tracing::error!(%error, "peers are not served any more");
                    }
                }
                // Streams between nodes have no end of their own: they are cut.
                _ = stopped => {}
            }
        });
        Ok(Self { _stop: stop, task })
    }
}

impl Drop for PeerServer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Every request has to come over a connection of the peer listener.
fn keep_peer_info(request: Request<()>) -> Result<Request<()>, Status> {
    match request.extensions().get::<PeerInfo>() {
        Some(_) => Ok(request),
        None => Err(Status::unauthenticated("nobody knows who calls")),
    }
}

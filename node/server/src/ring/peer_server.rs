//! The server that faces the other nodes.

use std::{net::TcpListener, time::Duration};

use ringtail_peers::{NodeCredentials, PeerListener};
use tokio::task::JoinHandle;
use tonic::{service::Routes, transport::Server};

use crate::exit::{Exit, ExitError};

/// A peer that vanished without a word is noticed by its silence.
const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(2);
const KEEP_ALIVE_WAIT_MAX: Duration = Duration::from_secs(4);
const STREAM_WINDOW_BYTES: u32 = 8 << 20;
const CONNECTION_WINDOW_BYTES: u32 = 32 << 20;

/// The running server; it ends, and all its connections with it, when it is dropped.
pub(crate) struct PeerServer {
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
        let server = Server::builder()
            .http2_keepalive_interval(Some(KEEP_ALIVE_INTERVAL))
            .http2_keepalive_timeout(Some(KEEP_ALIVE_WAIT_MAX))
            .initial_stream_window_size(Some(STREAM_WINDOW_BYTES))
            .initial_connection_window_size(Some(CONNECTION_WINDOW_BYTES))
            .add_routes(routes);
        let task = tokio::spawn(async move {
            if let Err(error) = server.serve_with_incoming(listener.into_stream()).await {
                tracing::error!(%error, "peers are not served any more");
            }
        });
        Ok(Self { task })
    }
}

impl Drop for PeerServer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

//! Where other nodes come in.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use futures::Stream;
use ringtail_proto::NodeId;
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{Semaphore, mpsc, watch},
    task::JoinHandle,
    time::timeout,
};
use tokio_rustls::TlsAcceptor;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Extensions, Request, Status};

use crate::{
    NodeCredentials, PeerError, PeerInfo, PeerStream,
    error::certificate,
    handshakes::{Handshakes, Place},
    peer_stream::Stay,
    tls,
};

/// Time for a handshake.
const HANDSHAKE_WAIT_MAX: Duration = Duration::from_secs(5);
/// Connections without a certificate at once; each serves to join, and no longer than that takes.
const STRANGERS_MAX: usize = 16;
const STRANGER_LASTING_MAX: Duration = Duration::from_secs(60);
/// Connections that wait for the server.
const CONNECTIONS_WAITING_MAX: usize = 64;
/// Pause after the system could not give a connection, e.g. for want of files.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Accepts connections and finds out who calls.
pub struct PeerListener {
    address: SocketAddr,
    streams: mpsc::Receiver<io::Result<PeerStream>>,
    accepting: Accepting,
}

impl PeerListener {
    /// Starts to accept. Must be called within a tokio runtime.
    ///
    /// # Errors
    /// When the socket or the certificate cannot be used.
    pub fn start(
        socket: std::net::TcpListener,
        credentials: &NodeCredentials,
    ) -> Result<Self, PeerError> {
        socket.set_nonblocking(true).map_err(certificate)?;
        let listener = TcpListener::from_std(socket).map_err(certificate)?;
        let address = listener.local_addr().map_err(certificate)?;
        let (alive, listening) = watch::channel(());
        let door = Door {
            listening,
            acceptor: TlsAcceptor::from(tls::server(credentials)?),
            cluster: credentials.identity().cluster,
            strangers: Arc::new(Semaphore::new(STRANGERS_MAX)),
        };
        // A series that begins with its first failure hides it.
        metrics::counter!("ringtail_replicate_connections_refused_total").increment(0);
        metrics::counter!("ringtail_replicate_handshakes_given_up_total").increment(0);
        let (accepted, streams) = mpsc::channel(CONNECTIONS_WAITING_MAX);
        let task = tokio::spawn(accept(listener, Arc::new(door), accepted));
        let accepting = Accepting {
            task,
            _alive: alive,
        };
        Ok(Self {
            address,
            streams,
            accepting,
        })
    }

    /// Where it listens.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// The connections, for a server; all of them end when this is dropped.
    pub fn into_stream(self) -> impl Stream<Item = io::Result<PeerStream>> {
        let accepting = self.accepting;
        futures::StreamExt::map(ReceiverStream::new(self.streams), move |stream| {
            let _accepting = &accepting;
            stream
        })
    }
}

/// Accepts for as long as it is kept.
struct Accepting {
    task: JoinHandle<()>,
    _alive: watch::Sender<()>,
}

impl Drop for Accepting {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// The calling node.
///
/// # Errors
/// When the caller showed no certificate of the ring.
pub fn caller<T>(request: &Request<T>) -> Result<NodeId, Status> {
    caller_in(request.extensions())
}

fn caller_in(extensions: &Extensions) -> Result<NodeId, Status> {
    let info = extensions.get::<PeerInfo>();
    let identity = info.and_then(|info| info.identity);
    identity
        .map(|identity| identity.node)
        .ok_or_else(|| Status::unauthenticated("a certificate of the ring is needed"))
}

struct Door {
    listening: watch::Receiver<()>,
    acceptor: TlsAcceptor,
    cluster: u128,
    strangers: Arc<Semaphore>,
}

async fn accept(
    listener: TcpListener,
    door: Arc<Door>,
    accepted: mpsc::Sender<io::Result<PeerStream>>,
) {
    let handshakes = Arc::new(Handshakes::default());
    loop {
        let (socket, from) = match listener.accept().await {
            Ok(connection) => connection,
            Err(error) => {
                tracing::warn!(%error, "no connection from a peer");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let place = handshakes.place();
        let number = place.number();
        let letting_in = let_in(Arc::clone(&door), socket, place, accepted.clone());
        let task = tokio::spawn(letting_in).abort_handle();
        handshakes.begin(number, from.ip(), task);
    }
}

async fn let_in(
    door: Arc<Door>,
    socket: TcpStream,
    place: Place,
    accepted: mpsc::Sender<io::Result<PeerStream>>,
) {
    let let_in = door.let_in(socket).await;
    drop(place);
    match let_in {
        // The server has gone when nobody takes it.
        Ok(stream) => drop(accepted.send(Ok(stream)).await),
        Err(reason) => {
            metrics::counter!("ringtail_replicate_connections_refused_total").increment(1);
            tracing::warn!(reason, "connection refused");
        }
    }
}

impl Door {
    async fn let_in(&self, socket: TcpStream) -> Result<PeerStream, String> {
        let addresses = (socket.peer_addr(), socket.local_addr());
        let (from, at) = match addresses {
            (Ok(from), Ok(at)) => (from, at),
            (Err(error), _) | (_, Err(error)) => return Err(error.to_string()),
        };
        socket
            .set_nodelay(true)
            .map_err(|error| error.to_string())?;
        let shaken = timeout(HANDSHAKE_WAIT_MAX, self.acceptor.accept(socket)).await;
        let stream = match shaken {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => return Err(format!("{from}: {error}")),
            Err(_elapsed) => return Err(format!("{from}: no handshake in time")),
        };
        let (_, session) = stream.get_ref();
        let presented = session.peer_certificates().and_then(<[_]>::first);
        let identity = match presented {
            None => None,
            Some(presented) => {
                let identity = tls::identity_of(presented)
                    .ok_or_else(|| format!("{from}: its certificate names no node"))?;
                if identity.cluster != self.cluster {
                    return Err(format!("{from} is {}, of another ring", identity.name()));
                }
                Some(identity)
            }
        };
        let stay = match identity {
            Some(_) => Stay::with(self.listening.clone()),
            None => {
                let permit = Arc::clone(&self.strangers).try_acquire_owned();
                let permit = permit.map_err(|_| {
                    format!("{from}: {STRANGERS_MAX} connections without a certificate are open")
                })?;
                Stay::with(self.listening.clone()).no_longer_than(STRANGER_LASTING_MAX, permit)
            }
        };
        let info = PeerInfo { identity, from, at };
        Ok(PeerStream::new(stream, info, stay))
    }
}

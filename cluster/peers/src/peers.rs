//! The connections to the nodes of the ring.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use hyper_util::rt::TokioIo;
use parking_lot::RwLock;
use ringtail_proto::NodeId;
use rustls::{ClientConfig, pki_types::ServerName};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    sync::watch,
    time::{Instant, timeout},
};
use tokio_rustls::{TlsConnector, client::TlsStream};
use tonic::transport::{Channel, Endpoint, Uri};
use tower::service_fn;

use crate::{NodeCredentials, PeerError, tls};

/// Time for a connection, handshake included.
const CONNECT_WAIT_MAX: Duration = Duration::from_millis(1_000);
/// A silent connection is asked whether it lives, and given up when it does not say so.
const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(2);
const KEEP_ALIVE_WAIT_MAX: Duration = Duration::from_secs(2);
const STREAM_WINDOW_BYTES: u32 = 8 << 20;
const CONNECTION_WINDOW_BYTES: u32 = 32 << 20;

/// Whether a node can be reached, as far as its last connection tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PeerState {
    /// Nobody has tried yet.
    Unknown,
    /// The last attempt to connect succeeded.
    Reached,
    /// The last attempt to connect failed.
    Unreachable,
}

/// The connections to the nodes of the ring. Clones are the same.
#[derive(Clone)]
pub struct Peers {
    inner: Arc<Inner>,
}

struct Inner {
    cluster: u128,
    own: NodeId,
    config: Arc<ClientConfig>,
    peers: RwLock<BTreeMap<NodeId, Peer>>,
}

struct Peer {
    address: watch::Sender<String>,
    state: Arc<watch::Sender<PeerState>>,
    reached_since: watch::Receiver<Option<Instant>>,
    channel: Channel,
}

impl Peers {
    /// Nobody is known yet.
    ///
    /// # Errors
    /// When the certificate cannot be used.
    pub fn new(credentials: &NodeCredentials) -> Result<Self, PeerError> {
        let identity = credentials.identity();
        Ok(Self {
            inner: Arc::new(Inner {
                cluster: identity.cluster,
                own: identity.node,
                config: tls::client(credentials)?,
                peers: RwLock::default(),
            }),
        })
    }

    /// Takes the addresses (`host:port`) of all nodes. A node that moved is reached at its new address from the next
    /// connection on; one that is not named is known no more. Must be called within a tokio runtime.
    ///
    /// # Errors
    /// When a node's id makes no name.
    pub fn set_addresses(&self, addresses: &BTreeMap<NodeId, String>) -> Result<(), PeerError> {
        let mut peers = self.inner.peers.write();
        peers.retain(|node, _| addresses.contains_key(node));
        for (node, address) in addresses {
            if *node == self.inner.own {
                continue;
            }
            match peers.get(node) {
                Some(peer) => {
                    peer.address.send_if_modified(|known| {
                        let is_new = known != address;
                        if is_new {
                            known.clone_from(address);
                        }
                        is_new
                    });
                }
                None => {
                    let name = tls::name_of(self.inner.cluster, *node)?;
                    let (sender, receiver) = watch::channel(address.clone());
                    let state = Arc::new(watch::Sender::new(PeerState::Unknown));
                    let (since, reached_since) = watch::channel(None);
                    let link = Link {
                        connector: TlsConnector::from(self.inner.config.clone()),
                        name,
                        address: receiver,
                        state: state.clone(),
                        reached_since: since,
                    };
                    let channel = channel(Arc::new(link));
                    let peer = Peer {
                        address: sender,
                        state,
                        reached_since,
                        channel,
                    };
                    peers.insert(*node, peer);
                }
            }
        }
        Ok(())
    }

    /// The connection to a node that is known; it connects when it is used.
    #[must_use]
    pub fn channel(&self, node: NodeId) -> Option<Channel> {
        let peers = self.inner.peers.read();
        peers.get(&node).map(|peer| peer.channel.clone())
    }

    /// How the last attempt to connect to a node went.
    #[must_use]
    pub fn state(&self, node: NodeId) -> PeerState {
        let peers = self.inner.peers.read();
        peers
            .get(&node)
            .map_or(PeerState::Unknown, |peer| *peer.state.borrow())
    }

    /// For how long there has been a connection to a node, as far as the last attempt tells; none while there is none.
    #[must_use]
    pub fn reached_for(&self, node: NodeId) -> Option<Duration> {
        let peers = self.inner.peers.read();
        let since = peers.get(&node)?.reached_since.borrow();
        since.map(|since| since.elapsed())
    }

    /// The nodes that are known.
    #[must_use]
    pub fn nodes(&self) -> BTreeSet<NodeId> {
        self.inner.peers.read().keys().copied().collect()
    }
}

/// One node's side of its channel.
struct Link {
    connector: TlsConnector,
    name: ServerName<'static>,
    address: watch::Receiver<String>,
    state: Arc<watch::Sender<PeerState>>,
    reached_since: watch::Sender<Option<Instant>>,
}

impl Link {
    fn note(&self, address: &str, error: Option<&std::io::Error>) {
        let (state, since) = match error {
            None => (PeerState::Reached, Some(Instant::now())),
            Some(_) => (PeerState::Unreachable, None),
        };
        self.reached_since.send_replace(since);
        let is_news = self
            .state
            .send_if_modified(|known| std::mem::replace(known, state) != state);
        if let (true, Some(error)) = (is_news, error) {
            let node = self.name.to_str();
            tracing::warn!(%node, address, %error, "a node cannot be reached");
        }
    }
}

fn channel(link: Arc<Link>) -> Channel {
    let connect = service_fn(move |_uri: Uri| {
        let link = link.clone();
        async move {
            let address = link.address.borrow().clone();
            let connected = connect(&link.connector, link.name.clone(), &address).await;
            link.note(&address, connected.as_ref().err());
            connected.map(TokioIo::new)
        }
    });
    endpoint().connect_with_connector_lazy(connect)
}

async fn connect(
    connector: &TlsConnector,
    name: ServerName<'static>,
    address: &str,
) -> std::io::Result<TlsStream<TcpStream>> {
    let connecting = async {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        connector.connect(name, stream).await
    };
    let connected = timeout(CONNECT_WAIT_MAX, connecting).await;
    connected.unwrap_or_else(|_elapsed| {
        let text = format!("{address} does not answer");
        Err(std::io::Error::new(std::io::ErrorKind::TimedOut, text))
    })
}

fn endpoint() -> Endpoint {
    // The connector knows where to go; the name is only for the requests' authority.
    Endpoint::from_static("http://node.ringtail")
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .http2_keep_alive_interval(KEEP_ALIVE_INTERVAL)
        .keep_alive_timeout(KEEP_ALIVE_WAIT_MAX)
        .keep_alive_while_idle(true)
}

/// A connection for a node that has no certificate yet, to a node of the ring whose authority has this fingerprint.
///
/// # Errors
/// When the address is none, or nobody of that ring answers there.
pub async fn admission_channel(address: &str, fingerprint: [u8; 32]) -> Result<Channel, PeerError> {
    let connector = TlsConnector::from(tls::pinned_client(fingerprint)?);
    let name = tls::name_of_any()?;
    let target = address.to_owned();
    let connect = service_fn(move |_uri: Uri| {
        let (connector, name, target) = (connector.clone(), name.clone(), target.clone());
        async move { connect(&connector, name, &target).await.map(TokioIo::new) }
    });
    endpoint()
        .connect_with_connector(connect)
        .await
        .map_err(|error| PeerError::Address {
            address: address.to_owned(),
            reason: causes(&error),
        })
}

/// A connection to a node as its peers make it, without anything said on it yet: what a peer may say, however wrong, is
/// tested with it.
///
/// # Errors
/// When the certificates cannot be used, or either end refuses the other.
pub async fn connect_raw(
    credentials: &NodeCredentials,
    node: NodeId,
    address: &str,
) -> Result<impl AsyncRead + AsyncWrite + Unpin, PeerError> {
    let connector = TlsConnector::from(tls::client(credentials)?);
    let name = tls::name_of(credentials.identity().cluster, node)?;
    connect(&connector, name, address)
        .await
        .map_err(|error| PeerError::Address {
            address: address.to_owned(),
            reason: error.to_string(),
        })
}

/// An error with what caused it: the transport's own says only that it failed.
fn causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

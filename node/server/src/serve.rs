//! `ringtail serve`: start, be ready, stop.

use std::{
    io::{self, Write as _},
    net::{SocketAddr, TcpListener},
    sync::Arc,
    time::Duration,
};

use metrics_exporter_prometheus::PrometheusHandle;
use serde_json::json;
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::{
    config::Config,
    data_directory::{Addresses, DataDirectory, DataDirectoryError, Unclaimed},
    exit::{Exit, ExitError},
    file_limit,
    frontend::{Frontend, ReplayingFrontend},
    health::{Health, NodeState},
    ring::{self, JoinOptions},
    telemetry,
    wiring::Node,
};

/// Runs a node until a signal or a failure of its disk ends it.
pub(crate) fn serve(config: Config, join: Option<JoinOptions>) -> Result<(), ExitError> {
    telemetry::start_logging()?;
    let metrics = telemetry::start_metrics()?;
    let threads = config.threads;
    let system = actix_rt::System::with_tokio_rt(move || {
        tokio::runtime::Builder::new_multi_thread()
            .worker_threads(threads)
            .enable_all()
            .build()
            .expect("the system gives threads to a starting process")
    });
    system.block_on(run(config, join, metrics))
}

async fn run(
    config: Config,
    join: Option<JoinOptions>,
    metrics: PrometheusHandle,
) -> Result<(), ExitError> {
    let mut signals = Signals::listen()?;
    let connections_max = file_limit::raise();
    let unclaimed = Unclaimed::open(&config.data_directory)?;
    let http = bind("http", config.http_address)?;
    let grpc = bind("grpc", config.grpc_address)?;
    let peer = bind_peer(&config)?;
    let addresses = Addresses {
        http: address_of(&http)?,
        grpc: address_of(&grpc)?,
        peer: match config.peer_advertised.as_str() {
            "" => address_of(&peer)?,
            advertised => advertised.to_owned(),
        },
    };
    let data = claim(unclaimed, join, &addresses).await?;
    let health = Arc::new(Health::default());
    let replaying = ReplayingFrontend::start(&http, &health)?;
    let opened = tokio::select! {
        node = Node::open(&config, &data, &addresses, &peer, &health, metrics) => node,
        () = signals.received() => return Ok(()),
    };
    let node = opened?;
    let drain = Duration::from_secs(config.drain_seconds_max);
    let ready = tokio::select! {
        ready = ready_or_failed(&node, &data) => ready.map(|()| true),
        () = signals.received() => Ok(false),
    };
    // Nobody reaches the node before it knows what the ring knows.
    replaying.stop().await;
    if !matches!(ready, Ok(true)) {
        health.advance(NodeState::Draining);
        node.stop(drain).await;
        return ready.map(drop);
    }
    let frontend = Frontend::start(&config, &node, connections_max, http, grpc)?;
    let ended = tokio::select! {
        ended = serve_until_failed(&node, &data, &addresses) => ended,
        () = signals.received() => Ok(()),
    };
    // Load balancers are told first; what still comes in is answered until leaders are elsewhere.
    health.advance(NodeState::Draining);
    if ended.is_ok() {
        node.hand_over(drain).await;
    }
    node.close_streams().await;
    frontend.stop(drain).await;
    node.stop(drain).await;
    ended
}

/// The directory of this node, which joins a ring first if it was told to and belongs to none yet.
async fn claim(
    unclaimed: Unclaimed,
    join: Option<JoinOptions>,
    addresses: &Addresses,
) -> Result<DataDirectory, ExitError> {
    let claimed = match (unclaimed.identity()?, join) {
        (None, Some(options)) => {
            ring::check_advertised(&addresses.peer)?;
            ring::join(unclaimed, &options, addresses).await?
        }
        (Some(identity), Some(options)) => {
            ring::check_same_ring(&unclaimed, &identity, &options)?;
            tracing::info!(node = %identity.node, "a node of a ring already, the join token is left alone");
            unclaimed
        }
        (_, None) => unclaimed,
    };
    Ok(claimed.into_claimed()?)
}

/// Ends when the node is ready, or cannot become so.
async fn ready_or_failed(node: &Node, data: &DataDirectory) -> Result<(), ExitError> {
    tokio::select! {
        ready = node.become_ready(data) => ready,
        failure = node.failed() => Err(failed(node, failure)),
    }
}

/// Says where the node serves; ends only when it cannot go on.
async fn serve_until_failed(
    node: &Node,
    data: &DataDirectory,
    addresses: &Addresses,
) -> Result<(), ExitError> {
    data.write_addresses(addresses)?;
    announce(addresses)?;
    Err(failed(node, node.failed().await))
}

fn failed(node: &Node, failure: ExitError) -> ExitError {
    node.health.advance(NodeState::Failed);
    failure
}

/// The signals that end a node in order.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn listen() -> Result<Self, ExitError> {
        let listen = |kind| signal(kind).map_err(|error| ExitError::new(Exit::Failure, error));
        Ok(Self {
            terminate: listen(SignalKind::terminate())?,
            interrupt: listen(SignalKind::interrupt())?,
        })
    }

    async fn received(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

/// One line of JSON on stdout: the node is ready.
fn announce(addresses: &Addresses) -> Result<(), ExitError> {
    let line = json!({
        "http": addresses.http,
        "grpc": addresses.grpc,
        "peer": addresses.peer,
        "version": env!("CARGO_PKG_VERSION"),
        "pid": std::process::id(),
    });
    let mut stdout = io::stdout().lock();
    writeln!(stdout, "{line}")
        .and_then(|()| stdout.flush())
        .map_err(|error| ExitError::new(Exit::Failure, format!("stdout: {error}")))
}

/// Nobody but the ring looks for this address, and the ring is told: a node that was given none takes any when the
/// usual one is taken, so that several can be tried on one machine.
fn bind_peer(config: &Config) -> Result<TcpListener, ExitError> {
    let usual = Config::default().peer_address;
    match bind("peer", config.peer_address) {
        Err(_) if config.peer_address == usual => {
            let any = SocketAddr::new(usual.ip(), 0);
            tracing::warn!(address = %usual, "peer address is taken, another one is used");
            bind("peer", any)
        }
        bound => bound,
    }
}

fn bind(name: &str, address: SocketAddr) -> Result<TcpListener, ExitError> {
    TcpListener::bind(address).map_err(|error| {
        ExitError::new(
            Exit::Address,
            format!("{name} address {address} cannot be bound: {error}"),
        )
    })
}

fn address_of(listener: &TcpListener) -> Result<String, ExitError> {
    listener
        .local_addr()
        .map(|address| address.to_string())
        .map_err(|error| ExitError::new(Exit::Address, error))
}

impl From<DataDirectoryError> for ExitError {
    fn from(error: DataDirectoryError) -> Self {
        Self::new(Exit::DataDirectory, error)
    }
}

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
    data_directory::{Addresses, DataDirectory, DataDirectoryError},
    exit::{Exit, ExitError},
    file_limit,
    frontend::{Frontend, ReplayingFrontend},
    health::{Health, NodeState},
    telemetry,
    wiring::Node,
};

/// Runs a node until a signal or a failure of its disk ends it.
pub(crate) fn serve(config: Config) -> Result<(), ExitError> {
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
    system.block_on(run(config, metrics))
}

async fn run(config: Config, metrics: PrometheusHandle) -> Result<(), ExitError> {
    let mut signals = Signals::listen()?;
    let connections_max = file_limit::raise();
    let data = DataDirectory::open(&config.data_directory)?;
    let http = bind("http", config.http_address)?;
    let grpc = bind("grpc", config.grpc_address)?;
    let addresses = Addresses {
        http: address_of(&http)?,
        grpc: address_of(&grpc)?,
    };
    let health = Arc::new(Health::default());
    let replaying = ReplayingFrontend::start(&http, &health)?;
    let opened = tokio::select! {
        node = Node::open(&config, &data, &addresses, &health, metrics) => node,
        () = signals.received() => return Ok(()),
    };
    replaying.stop().await;
    let node = opened?;
    let frontend = Frontend::start(&config, &node, connections_max, http, grpc)?;
    let ended = tokio::select! {
        ended = serve_until_failed(&node, &data, &addresses) => ended,
        () = signals.received() => Ok(()),
    };
    // Load balancers and open streams are told before anything stops.
    health.advance(NodeState::Draining);
    let drain = Duration::from_secs(config.drain_seconds_max);
    frontend.stop(drain).await;
    node.stop(drain).await;
    ended
}

/// Becomes ready and serves; ends only when the node cannot go on.
async fn serve_until_failed(
    node: &Node,
    data: &DataDirectory,
    addresses: &Addresses,
) -> Result<(), ExitError> {
    let serving = async {
        node.become_ready(data).await?;
        data.write_addresses(addresses)?;
        announce(addresses)?;
        std::future::pending::<Result<(), ExitError>>().await
    };
    tokio::select! {
        ended = serving => ended,
        failure = node.failed() => {
            node.health.advance(NodeState::Failed);
            Err(ExitError::new(Exit::Disk, failure))
        }
    }
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
        "version": env!("CARGO_PKG_VERSION"),
        "pid": std::process::id(),
    });
    let mut stdout = io::stdout().lock();
    writeln!(stdout, "{line}")
        .and_then(|()| stdout.flush())
        .map_err(|error| ExitError::new(Exit::Failure, format!("stdout: {error}")))
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

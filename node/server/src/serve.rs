//! `ringtail serve`: start, be ready, stop.

use std::{
    io::{self, Write as _},
    net::{SocketAddr, TcpListener},
    time::Duration,
};

use metrics_exporter_prometheus::PrometheusHandle;
use serde_json::json;
use tokio::signal::unix::{SignalKind, signal};

use crate::{
    config::Config,
    data_directory::{Addresses, DataDirectory, DataDirectoryError},
    exit::{Exit, ExitError},
    frontend::Frontend,
    telemetry,
    wiring::Node,
};

/// Runs a node until a signal or a failure of its disk ends it.
pub(crate) fn serve(config: Config) -> Result<(), ExitError> {
    telemetry::start_logging()?;
    let metrics = telemetry::start_metrics()?;
    let threads = config.threads;
    let system = actix::System::with_tokio_rt(move || {
        tokio::runtime::Builder::new_multi_thread()
            .worker_threads(threads)
            .enable_all()
            .build()
            .expect("the system gives threads to a starting process")
    });
    system.block_on(run(config, metrics))
}

async fn run(config: Config, metrics: PrometheusHandle) -> Result<(), ExitError> {
    let data = DataDirectory::open(&config.data_directory)?;
    let http = bind("http", config.http_address)?;
    let grpc = bind("grpc", config.grpc_address)?;
    let addresses = Addresses {
        http: address_of(&http)?,
        grpc: address_of(&grpc)?,
    };
    let drain = Duration::from_secs(config.drain_seconds_max);
    let node = Node::open(&config, &data, &addresses, metrics).await?;
    let frontend = Frontend::start(&config, &node, http, grpc)?;
    let ended = run_until_ended(&node, &data, &addresses).await;
    frontend.stop(drain).await;
    node.stop(drain).await;
    ended
}

/// Becomes ready, then waits for the reason to stop.
async fn run_until_ended(
    node: &Node,
    data: &DataDirectory,
    addresses: &Addresses,
) -> Result<(), ExitError> {
    let mut terminate = listen(SignalKind::terminate())?;
    let mut interrupt = listen(SignalKind::interrupt())?;
    let log = node.log();
    let serving = async {
        node.become_ready(data).await?;
        data.write_addresses(addresses)?;
        announce(addresses)?;
        std::future::pending::<Result<(), ExitError>>().await
    };
    tokio::select! {
        ended = serving => ended,
        error = log.failed() => {
            node.health.advance(crate::health::NodeState::Failed);
            Err(ExitError::new(Exit::Disk, error))
        }
        _ = terminate.recv() => Ok(()),
        _ = interrupt.recv() => Ok(()),
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

fn listen(kind: SignalKind) -> Result<tokio::signal::unix::Signal, ExitError> {
    signal(kind).map_err(|error| ExitError::new(Exit::Failure, error))
}

impl From<DataDirectoryError> for ExitError {
    fn from(error: DataDirectoryError) -> Self {
        Self::new(Exit::DataDirectory, error)
    }
}

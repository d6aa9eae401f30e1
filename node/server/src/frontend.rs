//! The two servers that face clients: HTTP and gRPC.

use std::{io, net::TcpListener, sync::Arc, time::Duration};

use actix_web::{App, HttpServer, dev::ServerHandle, web};
use ringtail_proto::wire::{self, v1};
use tokio::{sync::oneshot, task::JoinHandle};
use tonic::transport::{Server, server::TcpIncoming};
use tonic_health::{pb::health_server::HealthServer, server::HealthService};

use crate::{
    config::Config,
    exit::{Exit, ExitError},
    grpc::{AdminService, ReportsService, SubscriberService},
    health::Health,
    http,
    wiring::Node,
};

/// Clients that connected and wait for a thread.
const HTTP_BACKLOG: u32 = 1_024;
/// Of the connections that the system has room for, the share of gRPC: few clients, many events each.
const GRPC_SHARE: u64 = 4;
/// What a client may send ahead: some hundred batches of events.
const STREAM_WINDOW_BYTES: u32 = 2 << 20;
const CONNECTION_WINDOW_BYTES: u32 = 8 << 20;
const HTTP_KEEP_ALIVE: Duration = Duration::from_secs(75);
const HTTP_REQUEST_HEAD_MAX: Duration = Duration::from_secs(10);

/// The running servers.
pub(crate) struct Frontend {
    http: ServerHandle,
    http_task: JoinHandle<io::Result<()>>,
    grpc_stop: oneshot::Sender<()>,
    grpc_task: JoinHandle<Result<(), tonic::transport::Error>>,
}

impl Frontend {
    /// Starts to accept; what the node cannot answer yet it refuses by itself.
    pub(crate) fn start(
        config: &Config,
        node: &Node,
        connections_max: u64,
        http: TcpListener,
        grpc: TcpListener,
    ) -> Result<Self, ExitError> {
        let (http, http_task) = start_http(config, node, connections_max, http)
            .map_err(|error| ExitError::new(Exit::Address, format!("http: {error}")))?;
        let (grpc_stop, grpc_task) = start_grpc(node, grpc)
            .map_err(|error| ExitError::new(Exit::Address, format!("grpc: {error}")))?;
        Ok(Self {
            http,
            http_task,
            grpc_stop,
            grpc_task,
        })
    }

    /// Accepts nothing more and lets what is under way finish, for as long as `drain`.
    pub(crate) async fn stop(self, drain: Duration) {
        // The receiver is gone when the server has ended by itself.
        let _ = self.grpc_stop.send(());
        let grpc_abort = self.grpc_task.abort_handle();
        let stopped = futures::future::join3(
            tokio::time::timeout(drain, self.http.stop(true)),
            tokio::time::timeout(drain, self.http_task),
            tokio::time::timeout(drain, self.grpc_task),
        );
        let (_, http, grpc) = stopped.await;
        if http.is_err() {
            self.http.stop(false).await;
        }
        if grpc.is_err() {
            grpc_abort.abort();
        }
    }
}

/// Answers on the HTTP address while the node replays its log: alive, and not ready.
pub(crate) struct ReplayingFrontend {
    http: ServerHandle,
    task: JoinHandle<io::Result<()>>,
}

impl ReplayingFrontend {
    pub(crate) fn start(listener: &TcpListener, health: &Arc<Health>) -> Result<Self, ExitError> {
        let fail = |error: io::Error| ExitError::new(Exit::Address, format!("http: {error}"));
        let health = web::Data::from(Arc::clone(health));
        let server = HttpServer::new(move || {
            let app = App::new().app_data(health.clone());
            app.configure(http::configure_replaying)
        })
        .workers(1)
        .disable_signals()
        .listen(listener.try_clone().map_err(fail)?)
        .map_err(fail)?
        .run();
        Ok(Self {
            http: server.handle(),
            task: tokio::spawn(server),
        })
    }

    /// Gives the address over.
    pub(crate) async fn stop(self) {
        self.http.stop(false).await;
        // The server has been told to stop; how it ended changes nothing.
        let _ = self.task.await;
    }
}

fn start_http(
    config: &Config,
    node: &Node,
    connections_max: u64,
    listener: TcpListener,
) -> io::Result<(ServerHandle, JoinHandle<io::Result<()>>)> {
    let view = web::Data::new(node.health_view.clone());
    let admin = web::Data::new(node.services.admin.clone());
    let reports = web::Data::new(node.services.reports.clone());
    let realtime = web::Data::new(node.services.realtime.clone());
    let imports = web::Data::new(node.services.imports.clone());
    let lookup = web::Data::new(node.services.lookup.clone());
    let status = web::Data::new(node.services.status.clone());
    let ring = web::Data::new(node.services.ring.clone());
    let archive = web::Data::new(node.services.archive.clone());
    let subscriptions = web::Data::new(node.services.subscriptions.clone());
    let reprocess = web::Data::new(node.services.reprocess.clone());
    let gateway = web::Data::from(node.gateway.clone());
    let health = Arc::clone(&node.health);
    let http_connections_max = (connections_max - connections_max / GRPC_SHARE) as usize;
    let server = HttpServer::new(move || {
        App::new()
            .app_data(view.clone())
            .app_data(admin.clone())
            .app_data(reports.clone())
            .app_data(realtime.clone())
            .app_data(imports.clone())
            .app_data(lookup.clone())
            .app_data(status.clone())
            .app_data(ring.clone())
            .app_data(archive.clone())
            .app_data(subscriptions.clone())
            .app_data(reprocess.clone())
            .wrap_fn({
                let health = Arc::clone(&health);
                move |request, service| http::close_when_stopping(&health, request, service)
            })
            .configure(|app| ringtail_gateway::configure(app, gateway.clone()))
            .configure(http::configure)
    })
    .workers(config.threads)
    .backlog(HTTP_BACKLOG)
    .max_connections(http_connections_max / config.threads.max(1))
    .tcp_nodelay(true)
    .keep_alive(HTTP_KEEP_ALIVE)
    .client_request_timeout(HTTP_REQUEST_HEAD_MAX)
    .shutdown_timeout(config.drain_seconds_max)
    .disable_signals()
    .listen(listener)?
    .run();
    let handle = server.handle();
    Ok((handle, tokio::spawn(server)))
}

type GrpcTask = JoinHandle<Result<(), tonic::transport::Error>>;

fn start_grpc(node: &Node, listener: TcpListener) -> io::Result<(oneshot::Sender<()>, GrpcTask)> {
    listener.set_nonblocking(true)?;
    // Here, as the builder's own setting does not reach connections of a listener that it has not opened.
    let incoming =
        TcpIncoming::from(tokio::net::TcpListener::from_std(listener)?).with_nodelay(Some(true));
    let reflection = tonic_reflection::server::Builder::configure()
        .register_encoded_file_descriptor_set(wire::DESCRIPTORS)
        .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
        .build_v1()
        .map_err(io::Error::other)?;
    let admin = AdminService {
        admin: node.services.admin.clone(),
        status: node.services.status.clone(),
    };
    let (stop, stopped) = oneshot::channel::<()>();
    let server = Server::builder()
        .initial_stream_window_size(Some(STREAM_WINDOW_BYTES))
        .initial_connection_window_size(Some(CONNECTION_WINDOW_BYTES))
        .add_service(HealthServer::new(HealthService::from_health_reporter(
            node.grpc_health.clone(),
        )))
        .add_service(reflection)
        .add_service(node.collector())
        .add_service(v1::reports_server::ReportsServer::new(ReportsService {
            reports: node.services.reports.clone(),
            realtime: node.services.realtime.clone(),
        }))
        .add_service(v1::admin_server::AdminServer::new(admin))
        .add_service(v1::subscriber_server::SubscriberServer::new(
            SubscriberService {
                subscriptions: node.services.subscriptions.clone(),
            },
        ))
        .serve_with_incoming_shutdown(incoming, async {
            // An error says that the node drops the sender: that is a stop as well.
            let _ = stopped.await;
        });
    Ok((stop, tokio::spawn(server)))
}

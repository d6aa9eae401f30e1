//! A real S3 server in the process of the test, over a temporary directory.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use hyper::{Request, StatusCode, body::Incoming, service::service_fn};
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::conn::auto::Builder,
};
use ringtail_archive::{Keys, Location};
use s3s::{
    Body, HttpError, HttpResponse,
    auth::SimpleAuth,
    service::{S3Service, S3ServiceBuilder},
};
use tempfile::TempDir;
use tokio::{net::TcpListener, task::JoinSet};

/// The bucket that the server has.
pub const BUCKET: &str = "archive";
/// The secret of its one key.
pub const SECRET: &str = "secret";

/// Serves until it is dropped.
pub struct S3Server {
    port: u16,
    pub directory: Arc<TempDir>,
    pub faults: Arc<WireFaults>,
    tasks: JoinSet<()>,
}

/// How many of the next requests meet what.
#[derive(Default)]
pub struct WireFaults {
    /// An answer of 503.
    pub unavailable: AtomicU64,
    /// No answer.
    pub silent: AtomicU64,
    /// A connection that ends instead of an answer.
    pub hung_up: AtomicU64,
}

fn meets(fault: &AtomicU64) -> bool {
    let take = |left: u64| left.checked_sub(1);
    fault
        .fetch_update(Ordering::Relaxed, Ordering::Relaxed, take)
        .is_ok()
}

async fn serve(listener: TcpListener, service: S3Service, faults: Arc<WireFaults>) {
    let mut connections = JoinSet::new();
    while let Ok((socket, _)) = listener.accept().await {
        let (service, faults) = (service.clone(), faults.clone());
        connections.spawn(async move {
            let server = Builder::new(TokioExecutor::new());
            let faulty =
                service_fn(move |request| answer(request, service.clone(), faults.clone()));
            // A client that hangs up is no news.
            let _ = server.serve_connection(TokioIo::new(socket), faulty).await;
        });
    }
}

async fn answer(
    request: Request<Incoming>,
    service: S3Service,
    faults: Arc<WireFaults>,
) -> Result<HttpResponse, HttpError> {
    if meets(&faults.silent) {
        std::future::pending::<()>().await;
    }
    if meets(&faults.hung_up) {
        let end = std::io::Error::from(std::io::ErrorKind::ConnectionReset);
        return Err(HttpError::new(Box::new(end)));
    }
    if meets(&faults.unavailable) {
        let mut response = HttpResponse::new(Body::empty());
        *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
        return Ok(response);
    }
    service.call(request.map(Body::from)).await
}

impl S3Server {
    pub async fn start() -> Self {
        let directory = Arc::new(tempfile::tempdir().unwrap());
        std::fs::create_dir(directory.path().join(BUCKET)).unwrap();
        let files = s3s_fs::FileSystem::new(directory.path()).unwrap();
        let mut service = S3ServiceBuilder::new(files);
        service.set_auth(SimpleAuth::from_single("key", SECRET));
        let service = service.build();
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let faults = Arc::new(WireFaults::default());
        let mut tasks = JoinSet::new();
        tasks.spawn(serve(listener, service, faults.clone()));
        Self {
            port,
            directory,
            faults,
            tasks,
        }
    }

    pub fn location(&self, prefix: &str, secret: &str) -> Location {
        Location::S3 {
            bucket: BUCKET.to_owned(),
            prefix: prefix.to_owned(),
            endpoint: Some(format!("http://127.0.0.1:{}", self.port)),
            region: Some("us-east-1".to_owned()),
            allow_http: true,
            keys: Keys::Explicit {
                access_key_id: "key".to_owned(),
                secret_access_key: secret.to_owned(),
            },
        }
    }
}

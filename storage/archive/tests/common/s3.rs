//! A real S3 server in the process of the test, over a temporary directory.

use std::sync::Arc;

use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::conn::auto::Builder,
};
use ringtail_archive::{Keys, Location};
use s3s::{auth::SimpleAuth, service::S3ServiceBuilder};
use tempfile::TempDir;
use tokio::{net::TcpListener, task::JoinSet};

/// The bucket that the server has.
pub const BUCKET: &str = "archive";
/// The secret of its one key.
pub const SECRET: &str = "secret";

/// Serves until it is dropped.
pub struct S3Server {
    pub port: u16,
    pub directory: Arc<TempDir>,
    tasks: JoinSet<()>,
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
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((socket, _)) = listener.accept().await {
                let service = service.clone();
                connections.spawn(async move {
                    let server = Builder::new(TokioExecutor::new());
                    // A client that hangs up is no news.
                    let _ = server.serve_connection(TokioIo::new(socket), service).await;
                });
            }
        });
        Self {
            port,
            directory,
            tasks,
        }
    }

    pub fn location(&self, prefix: &str, secret: &str) -> Location {
        Self::location_at(self.port, prefix, secret)
    }

    /// The same, reached through another port.
    pub fn location_at(port: u16, prefix: &str, secret: &str) -> Location {
        Location::S3 {
            bucket: BUCKET.to_owned(),
            prefix: prefix.to_owned(),
            endpoint: Some(format!("http://127.0.0.1:{port}")),
            region: Some("us-east-1".to_owned()),
            allow_http: true,
            keys: Keys::Explicit {
                access_key_id: "key".to_owned(),
                secret_access_key: secret.to_owned(),
            },
        }
    }

    pub fn stop(&mut self) {
        self.tasks.abort_all();
    }
}

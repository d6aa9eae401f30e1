//! Who may use the services between nodes.

use std::sync::Arc;

use ringtail_metadata::Directory;
use ringtail_peers::caller;
use ringtail_proto::NodeId;
use tonic::{
    Request, Status,
    service::{Interceptor, interceptor::InterceptedService},
};

/// Lets the nodes of the ring in, and nobody else: one that has left still has its certificate.
#[derive(Clone)]
pub(crate) struct Members {
    directory: Arc<Directory>,
}

/// A service that only nodes of the ring may call. All but the one that admits new nodes are such.
pub(crate) type ForMembers<S> = InterceptedService<S, Members>;

impl Members {
    pub(crate) const fn new(directory: Arc<Directory>) -> Self {
        Self { directory }
    }

    /// Closes a service to everybody else.
    pub(crate) fn only<S>(&self, service: S) -> ForMembers<S> {
        InterceptedService::new(service, self.clone())
    }

    /// The calling node.
    pub(crate) fn caller<T>(&self, request: &Request<T>) -> Result<NodeId, Status> {
        let node = caller(request).inspect_err(|_| count("stranger"))?;
        if self.directory.may_call(node) {
            return Ok(node);
        }
        count("left");
        Err(Status::permission_denied(format!(
            "node {node} is not of the ring"
        )))
    }
}

impl Interceptor for Members {
    fn call(&mut self, request: Request<()>) -> Result<Request<()>, Status> {
        self.caller(&request)?;
        Ok(request)
    }
}

fn count(who: &'static str) {
    metrics::counter!("ringtail_replicate_peer_calls_refused_total", "who" => who).increment(1);
}

//! The one suite that every store passes.

use std::sync::Arc;

use ringtail_checkpoint::{CheckpointStore, conformance};

use crate::server::{KEYSPACE, Server};

pub(crate) fn all(server: &mut Server) {
    let session = server.session();
    conformance::check_all(|| {
        for table in ["row_versions", "sites", "buckets", "row_sets"] {
            server.run(&session, &format!("TRUNCATE {KEYSPACE}.{table}"));
        }
        server.store()
    });
}

/// What was persisted is there for another session that knows nothing of the first.
pub(crate) fn reopened(server: &mut Server) {
    conformance::check_reopen(|| server.store());
}

/// A killed process of ours leaves its rows behind, and its session, which the server does not know to be dead.
pub(crate) fn replaced_and_killed(server: &mut Server) {
    let session = server.session();
    server.run(&session, &format!("TRUNCATE {KEYSPACE}.row_sets"));
    let mut killed: Vec<Arc<dyn CheckpointStore>> = Vec::new();
    conformance::check_replace_and_kill(|| {
        let store = server.store();
        killed.push(store.clone());
        store
    });
}

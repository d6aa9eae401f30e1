//! How the node is, for operators.

use std::sync::Arc;

use ringtail_checkpoint::CheckpointStore;
use ringtail_metadata::{Directory, Scope};
use ringtail_partition::PartitionStatus;
use ringtail_proto::GroupId;
use ringtail_raft::{GroupMetrics, RaftNode};
use ringtail_router::Router;
use serde_json::{Value, json};

use super::{Access, Caller, Time};
use crate::{
    Partitions,
    api_error::ApiError,
    data_directory::Identity,
    health::Health,
    wiring::{Mirroring, Past},
};

/// Tells how the node is.
#[derive(Clone)]
pub(crate) struct Status {
    pub(crate) access: Access,
    pub(crate) health: Arc<Health>,
    pub(crate) identity: Identity,
    pub(crate) raft: Arc<RaftNode>,
    pub(crate) partitions: Arc<Partitions>,
    pub(crate) directory: Arc<Directory>,
    pub(crate) store: Arc<dyn CheckpointStore>,
    pub(crate) router: Router,
    pub(crate) past: Past,
    pub(crate) mirroring: Mirroring,
}

impl Status {
    pub(crate) async fn document(&self, caller: &Caller) -> Result<Value, ApiError> {
        caller.require(Scope::Admin, None)?;
        let store = Arc::clone(&self.store);
        let store_bytes = tokio::task::spawn_blocking(move || store.disk_bytes())
            .await
            .map_err(ApiError::internal)?;
        let log = self.raft.log();
        let partitions = self.partitions.status();
        let (logged, written) = partitions
            .iter()
            .fold((0, 0), |(logged, written), partition| {
                (
                    logged + partition.log_bytes,
                    written + partition.value_bytes,
                )
            });
        Ok(json!({
            "state": self.health.state().name(),
            "version": env!("CARGO_PKG_VERSION"),
            "ingest": if self.router.gate().is_storage_full() { "full" } else { "open" },
            "node": {
                "id": self.identity.node,
                "cluster": self.identity.cluster,
                "sites": self.directory.site_count(),
                "keys": self.directory.key_count(),
                "bytes_in_flight": self.router.bytes_in_flight(),
                "log_bytes": log.log_bytes(),
                "kept_log_bytes": log.kept_bytes(),
                "store_bytes": store_bytes,
                "write_amplification": (logged > 0).then(|| written as f64 / logged as f64),
            },
            "archive": self.past.document(),
            "metadata": self.raft.group(GroupId(0)).map(|group| raft_document(&group.metrics())),
            "mirror": self.mirroring.document(),
            "groups": partitions.iter().map(|partition| self.group(partition)).collect::<Vec<_>>(),
        }))
    }

    fn group(&self, partition: &PartitionStatus) -> Value {
        let raft = self
            .raft
            .group(partition.group)
            .map(|group| group.metrics());
        json!({
            "group": partition.group,
            "leader": raft.as_ref().and_then(|raft| raft.leader),
            "is_leader": partition.is_leader,
            "applied": partition.applied,
            "floor": partition.floor,
            "purged": raft.as_ref().and_then(|raft| raft.purged).map(|position| position.index),
            "stamp": Time(partition.stamp),
            "sites_active": partition.active_sites,
            "sites_dirty": partition.dirty_sites,
            "sites_failing": partition.failing_sites,
            "dirty_age_ms": partition.dirty_age_ms,
            "late_age_ms": partition.late_age_ms,
            "events": partition.events,
            "checkpoints": partition.checkpoints,
            "poisoned_entries": partition.poisoned_entries,
            "write_amplification": partition.write_amplification(),
            "failure": partition.failure,
        })
    }
}

fn raft_document(raft: &GroupMetrics) -> Value {
    json!({
        "term": raft.term,
        "leader": raft.leader,
        "applied": raft.applied.map(|position| position.index),
        "floor": raft.floor.map(|position| position.index),
        "purged": raft.purged.map(|position| position.index),
        "voters": raft.voters,
    })
}

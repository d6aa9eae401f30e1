//! The archive for operators: what it holds, whether that is what it should be, and to seal before its time.

use std::{future::ready, sync::Arc};

use futures::{StreamExt as _, stream};
use ringtail_archive::{Archive as Store, ArchiveError, Table, Verified, verify};
use ringtail_history::Archivist;
use ringtail_metadata::Scope;
use ringtail_proto::{ErrorKind, GroupId, UnixMillis, stored::ArchiveObject};
use serde_json::{Value, json};

use super::{Access, Caller, Time};
use crate::{Partitions, SiteMachine, api_error::ApiError, wiring::Past};

/// Objects that are read at once to verify them: each is in memory for a while.
const VERIFIED_AT_ONCE: usize = 2;

/// Tells of the archive of the groups that this node has replicas of.
#[derive(Clone)]
pub(crate) struct Archive {
    pub(crate) access: Access,
    pub(crate) partitions: Arc<Partitions>,
    pub(crate) past: Past,
}

impl Archive {
    /// How far each group is archived, and the objects.
    pub(crate) fn document(&self, caller: &Caller) -> Result<Value, ApiError> {
        caller.require(Scope::Admin, None)?;
        let mut groups = Vec::new();
        for group in self.partitions.hosted() {
            // One that leaves this node right now has nothing to tell.
            let Ok(state) = self.partitions.archive_state(group) else {
                continue;
            };
            let objects = self.partitions.archive_objects(group).unwrap_or_default();
            groups.push(json!({
                "group": group,
                "sealed": state.sealed,
                "settled": state.settled,
                "unsealed": state.unsealed,
                "objects": objects.iter().map(object_document).collect::<Vec<_>>(),
            }));
        }
        Ok(json!({
            "location": self.past.location(),
            "is_reached": self.past.archive().is_some(),
            "groups": groups,
        }))
    }

    /// Seals what is settled of the groups that this node leads.
    pub(crate) async fn seal(&self, caller: &Caller) -> Result<Value, ApiError> {
        caller.require(Scope::Admin, None)?;
        self.reached()?;
        let archivist = self.past.archivist().ok_or_else(not_reached)?;
        let round = archivist.run_once(true).await;
        Ok(json!({
            "seals": round.seals,
            "copies": round.copies,
            "merges": round.merges,
            "failures": round.failures,
        }))
    }

    /// Reads all objects and says what is wrong with them.
    pub(crate) async fn verify(&self, caller: &Caller) -> Result<Value, ApiError> {
        caller.require(Scope::Admin, None)?;
        let archive = self.reached()?;
        let verified = stream::iter(self.all_objects()).map(|object| {
            let (archive, archivist) = (Arc::clone(&archive), self.past.archivist());
            async move {
                let verified = verify(&archive, &object).await;
                // One that was merged away meanwhile is nobody's any more.
                let is_wanted = verified.is_ok() || self.names(&object);
                is_wanted.then(|| verdict(verified, archivist.as_deref(), &object))
            }
        });
        let verified = verified.buffer_unordered(VERIFIED_AT_ONCE);
        let objects: Vec<Value> = verified.filter_map(ready).collect().await;
        let is_wrong = |object: &&Value| object.get("error").is_some_and(|error| !error.is_null());
        Ok(json!({
            "wrong": objects.iter().filter(is_wrong).count(),
            "objects": objects,
        }))
    }

    fn all_objects(&self) -> Vec<ArchiveObject> {
        let objects = |group: GroupId| self.partitions.archive_objects(group).ok();
        let groups = self.partitions.hosted().into_iter();
        groups.filter_map(objects).flatten().collect()
    }

    fn names(&self, object: &ArchiveObject) -> bool {
        let manifest = |group: GroupId| self.partitions.archive_manifest(group).ok();
        let groups = self.partitions.hosted().into_iter();
        let mut manifests = groups.filter_map(manifest);
        manifests.any(|manifest| manifest.objects.contains_key(&object.path))
    }

    fn reached(&self) -> Result<Arc<Store>, ApiError> {
        if self.past.is_archived() {
            return self.past.archive().ok_or_else(not_reached);
        }
        Err(ApiError::new(
            ErrorKind::NotFound,
            "this node archives nothing: set `archive` in its configuration",
        ))
    }
}

fn not_reached() -> ApiError {
    ApiError::new(
        ErrorKind::Unavailable,
        "the archive cannot be reached now; nothing is lost, the log waits for it",
    )
}

/// Where nodes have archives of their own, what is damaged or missing here is got again from another node.
fn verdict(
    verified: Result<Verified, ArchiveError>,
    archivist: Option<&Archivist<SiteMachine>>,
    object: &ArchiveObject,
) -> Value {
    let is_replaced = match (&verified, archivist) {
        (Err(ArchiveError::Damaged { .. } | ArchiveError::Missing { .. }), Some(archivist)) => {
            archivist.note_damaged(object).unwrap_or_default()
        }
        _ => false,
    };
    let mut document = object_document(object);
    if let Some(fields) = document.as_object_mut() {
        let error = verified.err().map(|error| error.to_string());
        fields.insert("error".to_owned(), json!(error));
        fields.insert("is_replaced".to_owned(), json!(is_replaced));
    }
    document
}

fn object_document(object: &ArchiveObject) -> Value {
    json!({
        "path": String::from_utf8_lossy(&object.path),
        "table": Table::from_stored(object.table).map(Table::name),
        "rows": object.rows,
        "bytes": object.bytes,
        "first_index": object.first_index,
        "last_index": object.last_index,
        "from": Time(UnixMillis(object.first_ms)),
        "to": Time(UnixMillis(object.last_ms)),
    })
}

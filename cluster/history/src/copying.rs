//! Where each node has an archive of its own, what others sealed is fetched; only then the log may go.

use std::time::{Duration, Instant};

use ringtail_archive::{ArchiveError, BuiltObject, ObjectPath};
use ringtail_partition::SiteMachine;
use ringtail_proto::{GroupId, LogIndex, stored::ArchiveObject};
use ringtail_raft::spawn_blocking;

use crate::{
    Archivist, HistoryError,
    archivist::ArchiveRound,
    room::Need,
    seal,
    work::{GroupWork, forget_older},
};

/// Objects of a group that are got in one round.
const COPIES_MAX: usize = 16;
/// An object that the log did not give back is not made again for so long: one that was merged never will be.
const UNLIKE_MAX: Duration = Duration::from_secs(600);

impl<M: SiteMachine> Archivist<M> {
    pub(crate) async fn fetch_missing(
        &self,
        group: GroupId,
        work: &mut GroupWork,
        round: &mut ArchiveRound,
    ) -> Result<(), HistoryError> {
        let mut failed = Ok(());
        forget_older(&mut work.unlike, UNLIKE_MAX);
        for object in self.partitions.unheld(group)? {
            // What is left comes in the next rounds: seals wait for no more.
            if round.copies >= COPIES_MAX {
                break;
            }
            match self.hold(group, &object, work).await {
                Ok(copies) => {
                    round.copies += copies;
                    self.damaged.lock().remove(&object.path);
                    self.partitions
                        .note_held(group, std::slice::from_ref(&object.path))?;
                }
                Err(error) => failed = Err(error),
            }
        }
        failed
    }

    /// An object here is not what it should be: where nodes have archives of their own, it is got again in one of the next
    /// rounds. Returns whether it will be; one that the manifest names no more is not.
    ///
    /// # Errors
    /// When the object's group is not on this node.
    pub fn note_damaged(&self, object: &ArchiveObject) -> Result<bool, HistoryError> {
        let path = std::str::from_utf8(&object.path).ok();
        let Some(path) = path.and_then(ObjectPath::parse) else {
            return Ok(false);
        };
        if self.archive.options().location.is_shared() {
            return Ok(false);
        }
        if !self.partitions.note_unheld(path.group, &object.path)? {
            return Ok(false);
        }
        self.damaged.lock().insert(object.path.clone());
        Ok(true)
    }

    /// Sees to it that an object is here; returns how many had to be got for that.
    async fn hold(
        &self,
        group: GroupId,
        object: &ArchiveObject,
        work: &mut GroupWork,
    ) -> Result<usize, HistoryError> {
        let is_damaged = self.damaged.lock().contains(&object.path);
        if !is_damaged && self.archive.holds(object).await? {
            return Ok(0);
        }
        self.check_room(Need::Vital, object.bytes)?;
        let Err(missed) = self.copy(group, object).await else {
            return Ok(1);
        };
        // Nobody has it, but this node may have what it was made of.
        if work.unlike.contains_key(&object.path) || !self.is_settled(group, object)? {
            return Err(missed);
        }
        match self.rebuild(group, object).await {
            Ok(true) => Ok(1),
            Ok(false) => {
                work.unlike.insert(object.path.clone(), Instant::now());
                Err(missed)
            }
            Err(error) => {
                tracing::debug!(%group, %error, "archive: an object cannot be made again");
                Err(missed)
            }
        }
    }

    async fn copy(&self, group: GroupId, object: &ArchiveObject) -> Result<(), HistoryError> {
        let mut message = "there is none".to_owned();
        for node in self.peers.nodes() {
            let stream = match self.peers.fetch(node, object).await {
                Ok(stream) => stream,
                Err(error) => {
                    message = format!("node {node}: {error}");
                    continue;
                }
            };
            match self.archive.copy_in(object, stream).await {
                Ok(()) => {
                    metrics::counter!("ringtail_archive_copied_bytes_total")
                        .increment(object.bytes);
                    return Ok(());
                }
                // The fault is here: another peer's bytes would find no room either.
                Err(error @ (ArchiveError::Full { .. } | ArchiveError::Refused { .. })) => {
                    return Err(error.into());
                }
                Err(error) => message = format!("node {node}: {error}"),
            }
        }
        Err(HistoryError::NoPeer {
            group,
            path: String::from_utf8_lossy(&object.path).into_owned(),
            message,
        })
    }

    /// True when all verdicts that it tells are in rows here.
    fn is_settled(&self, group: GroupId, object: &ArchiveObject) -> Result<bool, HistoryError> {
        let settled = self.partitions.archive_state(group)?.settled;
        Ok(settled.is_some_and(|settled| settled.0 >= object.last_index))
    }

    /// Makes an object again from this node's log; false when that gives other bytes.
    async fn rebuild(&self, group: GroupId, object: &ArchiveObject) -> Result<bool, HistoryError> {
        let (first, last) = (LogIndex(object.first_index), LogIndex(object.last_index));
        let limits = self.seal_limits();
        let entries = self.partitions.sealed_entries(group, first, last, limits);
        let entries = entries.await?;
        let built = spawn_blocking(move || seal::build(group, &entries.entries, &entries.verdicts));
        let built = built.await.map_err(|_| HistoryError::Stopping)??;
        let same = built
            .into_iter()
            .find(|built| built.object.hash == object.hash);
        let Some(same) = same else {
            return Ok(false);
        };
        let again = BuiltObject {
            object: object.clone(),
            bytes: same.bytes,
        };
        self.archive.put(&again).await?;
        tracing::warn!(%group, path = ?object.path, "archive: an object was made again from the log");
        Ok(true)
    }
}

//! The objects of a group's archive, as this node's replica knows them.

use std::{collections::BTreeMap, sync::Arc};

use bytes::Bytes;
use ringtail_proto::{GroupId, LogIndex, stored::ArchiveObject};
use ringtail_raft::spawn_blocking;

use crate::{
    PartitionError, Partitions, SealLimits, SiteMachine, UnsealedEntry, history::noted,
    partition::Partition,
};

/// The objects of a group's archive at one moment.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ArchiveManifest {
    /// By path.
    pub objects: Arc<BTreeMap<Bytes, ArchiveObject>>,
    /// Up to where they hold everything; none before the first seal.
    pub sealed: Option<LogIndex>,
    /// What was prepared in a term up to this one, and is not among the objects, never will be; none when that is not
    /// known. On a leader it says nothing about its own term.
    pub decided_term: Option<u64>,
}

/// Entries that a seal holds already, while this node has their log yet.
#[derive(Clone, Debug, PartialEq)]
pub struct SealedEntries {
    /// In the order of the log; those that say nothing to sites are left out.
    pub entries: Vec<UnsealedEntry>,
    /// The verdicts of those slices of which not every event was plainly accepted.
    pub verdicts: BTreeMap<(LogIndex, u32), Vec<u8>>,
}

impl<M: SiteMachine> Partitions<M> {
    /// What the archive holds of a group, by path.
    ///
    /// # Errors
    /// When the partition is not on this node.
    pub fn archive_objects(&self, group: GroupId) -> Result<Vec<ArchiveObject>, PartitionError> {
        let manifest = self.archive_manifest(group)?;
        Ok(manifest.objects.values().cloned().collect())
    }

    /// What the archive holds of a group, without a copy.
    ///
    /// # Errors
    /// When the partition is not on this node.
    pub fn archive_manifest(&self, group: GroupId) -> Result<ArchiveManifest, PartitionError> {
        let replica = self.replica(group)?;
        let leadership = replica.raft.watch_leadership().current();
        let committed = replica.raft.committed();
        let progress = replica.partition.progress.lock();
        let manifest = &progress.history.manifest;
        let decided_term = progress.applied.map(|applied| {
            let leader = leadership
                .leader
                .filter(|leader| *leader != replica.raft.node() && leadership.term == applied.term);
            // Another leader's entry has settled what was left of earlier ones, of the same term too. What it puts itself this
            // node learns of by what is committed.
            let is_caught_up = committed.is_some_and(|committed| committed <= applied);
            let is_decided = is_caught_up && leader == Some(applied.node);
            match is_decided {
                true => applied.term,
                false => applied.term.saturating_sub(1),
            }
        });
        Ok(ArchiveManifest {
            objects: Arc::clone(manifest.objects()),
            sealed: manifest.sealed().map(|row| row.position.index),
            decided_term,
        })
    }

    /// Objects of a group that this node has to have and is not known to, the latest first; see [`Self::note_held`].
    ///
    /// # Errors
    /// When the partition is not on this node.
    pub fn unheld(&self, group: GroupId) -> Result<Vec<ArchiveObject>, PartitionError> {
        let partition = &self.replica(group)?.partition;
        if !partition.options.holds_objects {
            return Ok(Vec::new());
        }
        let (objects, unheld) = {
            let progress = partition.progress.lock();
            let objects = Arc::clone(progress.history.manifest.objects());
            (objects, progress.unheld.clone())
        };
        let unheld = unheld.iter().filter_map(|path| objects.get(path));
        let mut unheld: Vec<ArchiveObject> = unheld.cloned().collect();
        unheld.sort_by_key(|object| std::cmp::Reverse(object.last_index));
        Ok(unheld)
    }

    /// These objects are in reach of this node, so the log that they hold may go. Needed only where
    /// [`PartitionOptions::holds_objects`](crate::PartitionOptions::holds_objects) says so, harmless elsewhere.
    ///
    /// # Errors
    /// When the partition is not on this node.
    pub fn note_held(&self, group: GroupId, paths: &[Bytes]) -> Result<(), PartitionError> {
        let partition = &self.replica(group)?.partition;
        let mut progress = partition.progress.lock();
        for path in paths {
            progress.unheld.remove(path);
        }
        Ok(())
    }

    /// An object that was in reach is not, or is not what it should be: it has to be got again. False for one that the
    /// manifest does not name.
    ///
    /// # Errors
    /// When the partition is not on this node.
    pub fn note_unheld(&self, group: GroupId, path: &Bytes) -> Result<bool, PartitionError> {
        let partition = &self.replica(group)?.partition;
        let mut progress = partition.progress.lock();
        let is_named = progress.history.manifest.objects().contains_key(path);
        if is_named {
            progress.unheld.insert(path.clone());
        }
        Ok(is_named)
    }

    /// The entries that an object was made of, out of this node's own log.
    ///
    /// # Errors
    /// When the partition is not on this node, or its log does not reach back so far.
    pub async fn sealed_entries(
        &self,
        group: GroupId,
        first: LogIndex,
        last: LogIndex,
        limits: SealLimits,
    ) -> Result<SealedEntries, PartitionError> {
        let partition = self.replica(group)?.partition.clone();
        let _entrance = partition.enter().await?;
        partition.sealed_entries(first, last, limits).await
    }
}

impl<M: SiteMachine> Partition<M> {
    async fn sealed_entries(
        &self,
        first: LogIndex,
        last: LogIndex,
        limits: SealLimits,
    ) -> Result<SealedEntries, PartitionError> {
        let floor = self.floor().map(|floor| floor.position.index);
        if floor.is_some_and(|floor| first <= floor) {
            return Err(PartitionError::Log {
                group: self.group,
                message: format!("entries from {first} on are given up here"),
            });
        }
        let entries = self.read_day(first, last, limits).await?;
        let rows = self.rows().snapshot();
        let noted = spawn_blocking(move || noted(&*rows, first, last)).await;
        let noted = noted.map_err(|_| PartitionError::Stopping(self.group))??;
        Ok(SealedEntries {
            entries,
            verdicts: noted.verdicts,
        })
    }
}

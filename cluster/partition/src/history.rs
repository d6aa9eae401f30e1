//! What the partitions tell to, and take from, those who carry history elsewhere: the archive's writer and the mirror.

use std::{collections::BTreeMap, ops::ControlFlow};

use bytes::Bytes;
use ringtail_checkpoint::{GroupBatch, GroupKey, GroupSnapshot, StoreError};
use ringtail_proto::{
    GroupId, LogIndex, SiteGeneration, SiteRow, UnixMillis, Verdict,
    stored::{ArchiveChange, GenerationCommand, PartitionEntry, Seal, partition_entry},
};
use ringtail_raft::{Body, Committed, spawn_blocking};

use crate::{
    ArchiveBegan, Note, PartitionError, Partitions, SiteMachine, capped::CappedSince,
    entry::decode_body, partition::Partition,
};

const DAY_MS: i64 = 24 * 3_600_000;
/// Notes removed in one batch.
const BATCH_NOTES_MAX: usize = 4_096;

/// How far the archive of a group is.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ArchiveState {
    /// The last entry that the archive holds; none before the first seal.
    pub sealed: Option<LogIndex>,
    /// Where the archive begins; none before the first seal.
    pub began: Option<ArchiveBegan>,
    /// The first entry that says something to sites and is in no seal.
    pub unsealed: Option<LogIndex>,
    /// The last entry whose verdicts are all in rows: a seal reaches no further.
    pub settled: Option<LogIndex>,
    /// Bytes of commands that the group applied since the process started.
    pub log_bytes: u64,
    /// The term in which this node leads the group, if it does.
    pub leading_term: Option<u64>,
}

impl ArchiveState {
    /// True when a seal would hold something.
    #[must_use]
    pub fn is_ripe(&self) -> bool {
        let (unsealed, settled) = (self.unsealed, self.settled);
        unsealed.is_some_and(|first| settled.is_some_and(|settled| first <= settled))
    }
}

/// Entries that the archive needs, and what is known about them.
#[derive(Clone, Debug, PartialEq)]
pub struct Unsealed {
    /// What a seal of these entries says.
    pub seal: Seal,
    /// In the order of the log; those that say nothing to sites are left out.
    pub entries: Vec<UnsealedEntry>,
    /// The verdicts of those slices of which not every event was plainly accepted.
    pub verdicts: BTreeMap<(LogIndex, u32), Vec<u8>>,
}

/// How much goes into one seal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SealLimits {
    /// Bytes of commands.
    pub bytes_max: u64,
    /// Events: their rows are all in memory at once.
    pub events_max: u64,
}

/// An entry of the log that says something to sites.
#[derive(Clone, Debug, PartialEq)]
pub struct UnsealedEntry {
    /// Its index.
    pub index: LogIndex,
    /// The version byte: which rules apply followed.
    pub version: u8,
    /// The leader's stamp.
    pub stamp: UnixMillis,
    /// What it says.
    pub body: partition_entry::Body,
}

impl<M: SiteMachine> Partitions<M> {
    /// How far the archive of a group is.
    ///
    /// # Errors
    /// When the partition is not on this node.
    pub fn archive_state(&self, group: GroupId) -> Result<ArchiveState, PartitionError> {
        let replica = self.replica(group)?;
        let partition = &replica.partition;
        let settled = partition.highest_floor();
        let leadership = replica.raft.watch_leadership().current();
        let progress = partition.progress.lock();
        Ok(ArchiveState {
            leading_term: leadership.is_leader.then_some(leadership.term),
            sealed: progress
                .history
                .manifest
                .sealed()
                .map(|row| row.position.index),
            began: progress.history.manifest.began(),
            unsealed: progress.unsealed.first(),
            settled: settled.map(|floor| floor.position.index),
            log_bytes: partition
                .counters
                .log_bytes
                .load(std::sync::atomic::Ordering::Relaxed),
        })
    }

    /// True while this node leads a group.
    #[must_use]
    pub fn leads(&self, group: GroupId) -> bool {
        let replica = self.replica(group);
        replica.is_ok_and(|replica| replica.raft.watch_leadership().current().is_leader)
    }

    /// The next entries that the archive needs, as many as the limits allow and of one UTC day of stamps; none when there are
    /// none whose verdicts are settled.
    ///
    /// # Errors
    /// When the partition is not on this node, or log or rows cannot be read.
    pub async fn unsealed(
        &self,
        group: GroupId,
        limits: SealLimits,
    ) -> Result<Option<Unsealed>, PartitionError> {
        let partition = self.replica(group)?.partition.clone();
        let _entrance = partition.enter().await?;
        partition.unsealed(limits).await
    }

    /// Proposes a change of the archive and waits until it is applied here; false when it was void.
    ///
    /// # Errors
    /// When this node does not lead the group or the change may or may not hold.
    pub async fn change_archive(
        &self,
        group: GroupId,
        change: ArchiveChange,
    ) -> Result<bool, PartitionError> {
        let change = partition_entry::Body::Archive(change);
        self.change_history(group, change).await
    }

    /// Proposes to begin or to end a generation and waits until that is applied here; false when it was void.
    ///
    /// # Errors
    /// When this node does not lead the group or the change may or may not hold.
    pub async fn change_generation(
        &self,
        group: GroupId,
        command: GenerationCommand,
    ) -> Result<bool, PartitionError> {
        let change = partition_entry::Body::Generation(command);
        self.change_history(group, change).await
    }

    /// Proposes what the log says about the group's past and waits until it is applied here; false when it was void.
    async fn change_history(
        &self,
        group: GroupId,
        body: partition_entry::Body,
    ) -> Result<bool, PartitionError> {
        let replica = self.replica(group)?;
        let entry = PartitionEntry {
            stamp_ms: replica.partition.applied().1.0,
            body: Some(body),
        };
        // It is by these that the log shrinks: a full disk must not stop them.
        let proposal = replica.raft.propose_vital(entry.to_log()).await?;
        let applied = proposal.applied().await?;
        Ok(applied.reply.first() == Some(&Verdict::Accepted.code()))
    }
}

impl<M: SiteMachine> Partition<M> {
    pub(crate) async fn unsealed(
        &self,
        limits: SealLimits,
    ) -> Result<Option<Unsealed>, PartitionError> {
        let Some(settled) = self.highest_floor().map(|floor| floor.position.index) else {
            return Ok(None);
        };
        let (first, sealed) = {
            let progress = self.progress.lock();
            if let Some((from, to)) = progress.hole() {
                return Err(PartitionError::Log {
                    group: self.group,
                    message: format!(
                        "entries {from}..={to} were given up here before they were sealed, \
                         another replica has to lead to seal them"
                    ),
                });
            }
            let sealed = progress
                .history
                .manifest
                .sealed()
                .map(|row| row.position.index);
            (progress.unsealed.first(), sealed)
        };
        let Some(first) = first.filter(|first| *first <= settled) else {
            return Ok(None);
        };
        let entries = self.read_day(first, settled, limits).await?;
        let Some(last) = entries.last().map(|entry| entry.index) else {
            return Ok(None);
        };
        let (position, membership, stamp, began) = {
            let progress = self.progress.lock();
            let position = progress.positions.at(last);
            let began = progress.capped_since.map(|CappedSince(index)| index);
            (
                position,
                progress.memberships.at(last),
                progress.stamp,
                began,
            )
        };
        let first_stamp = entries.first().map(|entry| entry.stamp);
        // Sealed by another leader meanwhile.
        let Some(position) = position else {
            return Ok(None);
        };
        let verdicts = self.verdicts_of(first, last, settled).await?;
        let seal = Seal {
            after_index: sealed.unwrap_or_default().0,
            term: position.term,
            node: position.node.0,
            index: last.0,
            stamp_ms: stamp.0,
            membership: membership.unwrap_or_default(),
            began_index: sealed.is_none().then(|| began.unwrap_or_default().0),
            began_ms: first_stamp
                .filter(|_| sealed.is_none())
                .unwrap_or_default()
                .0,
        };
        Ok(Some(Unsealed {
            seal,
            entries,
            verdicts,
        }))
    }

    /// Entries of one UTC day of stamps, as many as the limits allow but at least one if there is any.
    pub(crate) async fn read_day(
        &self,
        first: LogIndex,
        last: LogIndex,
        limits: SealLimits,
    ) -> Result<Vec<UnsealedEntry>, PartitionError> {
        let mut entries: Vec<UnsealedEntry> = Vec::new();
        let (mut next, mut bytes, mut events) = (first, 0, 0);
        while next <= last && bytes < limits.bytes_max && events < limits.events_max {
            let read = self.read_log(next, last).await?;
            if read.is_empty() {
                break;
            }
            for committed in read {
                next = LogIndex(committed.position.index.0 + 1);
                let Body::Command(command) = committed.body else {
                    continue;
                };
                let size = command.len() as u64;
                let decoded = decode_body(self.group, committed.position.index, command)?;
                let Some(entry) = decoded else { continue };
                let day = |entry: &UnsealedEntry| entry.stamp.0.div_euclid(DAY_MS);
                let is_of_day = entries
                    .first()
                    .is_none_or(|first| day(first) == day(&entry));
                bytes += size;
                events += events_of(&entry.body);
                let is_over = bytes > limits.bytes_max || events > limits.events_max;
                if !is_of_day || (is_over && !entries.is_empty()) {
                    return Ok(entries);
                }
                entries.push(entry);
            }
        }
        Ok(entries)
    }

    /// The entries from one on, up to another or fewer.
    pub(crate) async fn read_log(
        &self,
        from: LogIndex,
        to: LogIndex,
    ) -> Result<Vec<Committed>, PartitionError> {
        self.read_log_of(from, to, self.options.rebuild_bytes_max)
            .await
    }

    /// The entries from one on, up to another or as many as have so many bytes.
    pub(crate) async fn read_log_of(
        &self,
        from: LogIndex,
        to: LogIndex,
        bytes_max: u64,
    ) -> Result<Vec<Committed>, PartitionError> {
        let read = self.seams.log.read(self.group, from, to, bytes_max).await;
        read.map_err(|error| PartitionError::Log {
            group: self.group,
            message: error.to_string(),
        })
    }

    /// Removes the notes that nobody needs any more; returns how many. Below the floor nothing waits for the archive.
    pub(crate) async fn forget_old_notes(&self) -> Result<usize, PartitionError> {
        let (floor, mirrored) = {
            let progress = self.progress.lock();
            let floor = progress.floor.as_ref().map(|floor| floor.position.index);
            (floor, progress.history.mirrored)
        };
        let through = match self.options.mirrors {
            true => floor.min(mirrored),
            false => floor,
        };
        match through {
            Some(through) => self.forget_notes(through).await,
            None => Ok(0),
        }
    }

    async fn forget_notes(&self, through: LogIndex) -> Result<usize, PartitionError> {
        let rows = self.rows();
        let forgotten = spawn_blocking(move || {
            let mut keys = Vec::new();
            each_note(&*rows.snapshot(), &mut |key, index, _| {
                if index <= through {
                    keys.push(key);
                }
                Ok(())
            })?;
            for keys in keys.chunks(BATCH_NOTES_MAX) {
                let mut batch = GroupBatch::new();
                for key in keys {
                    batch.remove(key);
                }
                rows.commit(batch)?;
            }
            Ok::<_, StoreError>(keys.len())
        });
        let forgotten = forgotten.await;
        Ok(forgotten.map_err(|_| PartitionError::Stopping(self.group))??)
    }
}

fn events_of(body: &partition_entry::Body) -> u64 {
    match body {
        partition_entry::Body::Events(batch) => {
            let events = batch.sites.iter().map(|site| site.events.len() as u64);
            events.sum()
        }
        _ => 0,
    }
}

/// What notes tell.
#[derive(Debug, Default)]
pub(crate) struct Noted {
    /// Of the entries that were asked for.
    pub(crate) verdicts: BTreeMap<(LogIndex, u32), Vec<u8>>,
    /// No note tells of a later entry.
    pub(crate) through: LogIndex,
}

/// What the notes tell of entries `first..=last`.
pub(crate) fn noted(
    rows: &dyn GroupSnapshot,
    first: LogIndex,
    last: LogIndex,
) -> Result<Noted, StoreError> {
    let mut noted = Noted::default();
    each_note(rows, &mut |_, index, value| {
        noted.through = noted.through.max(index);
        // A note tells of entries up to its index.
        if index < first {
            return Ok(());
        }
        for slice in Note::decode(&value)?.verdicts {
            if (first..=last).contains(&slice.index) {
                let at = (slice.index, slice.slice);
                noted.verdicts.insert(at, slice.codes().collect());
            }
        }
        Ok(())
    })?;
    Ok(noted)
}

/// Visits every note of the group with the index of its batch.
fn each_note(
    rows: &dyn GroupSnapshot,
    visit: &mut dyn FnMut(GroupKey, LogIndex, Bytes) -> Result<(), StoreError>,
) -> Result<(), StoreError> {
    let first = GroupKey::Site(SiteGeneration::MIN, SiteRow::Notes(LogIndex(0), 0));
    let last = GroupKey::Site(
        SiteGeneration::MAX,
        SiteRow::Notes(LogIndex(u64::MAX), u32::MAX),
    );
    let mut failed = None;
    rows.range(&first, &last, &mut |key, value| {
        let GroupKey::Site(_, SiteRow::Notes(index, _)) = key else {
            return ControlFlow::Continue(());
        };
        match visit(key, index, value) {
            Ok(()) => ControlFlow::Continue(()),
            Err(error) => {
                failed = Some(error);
                ControlFlow::Break(())
            }
        }
    })?;
    failed.map_or(Ok(()), Err)
}

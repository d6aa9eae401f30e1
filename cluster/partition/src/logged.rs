//! The log with its verdicts, for those who follow it.

use ringtail_proto::{
    GroupId, LogIndex, UnixMillis, Verdict,
    stored::{EventBatch, partition_entry},
};
use ringtail_raft::{Body, LogPosition, spawn_blocking};
use tokio::sync::watch;

use crate::{
    PartitionError, Partitions, SiteMachine, capped::CappedSince, entry::decode_body,
    history::noted, partition::Partition, verdict_book::Verdicts,
};

/// Bytes of commands that are read at once, but at least one entry.
const LOGGED_BYTES_MAX: u64 = 1 << 20;

/// What the log holds behind an entry.
#[derive(Clone, Debug, PartialEq)]
pub enum Logged {
    /// These entries, and nothing else of events up to `through`.
    Entries {
        /// In the order of the log.
        entries: Vec<LoggedEntry>,
        /// The last entry that was looked at.
        through: LogIndex,
    },
    /// The archive holds the next ones, and the log perhaps no longer.
    Sealed,
    /// The next ones are in no archive, and their log is given up up to here.
    Gone(LogIndex),
}

/// An entry that brings events.
#[derive(Clone, Debug, PartialEq)]
pub struct LoggedEntry {
    /// Its index.
    pub index: LogIndex,
    /// The version byte: which rules apply followed.
    pub version: u8,
    /// The leader's stamp.
    pub stamp: UnixMillis,
    /// Its events.
    pub batch: EventBatch,
    /// For each slice, the code of each event.
    pub codes: Vec<Vec<u8>>,
}

impl<M: SiteMachine> Partitions<M> {
    /// The entries behind one that are applied here, up to so many bytes; none when there is none yet.
    ///
    /// # Errors
    /// When the partition is not on this node, or log or rows cannot be read.
    pub async fn logged(
        &self,
        group: GroupId,
        after: LogIndex,
    ) -> Result<Option<Logged>, PartitionError> {
        let partition = self.replica(group)?.partition.clone();
        let _entrance = partition.enter().await?;
        partition.check_whole()?;
        partition.logged(after).await
    }

    /// Follows what the replica here has applied.
    ///
    /// # Errors
    /// When the partition is not on this node.
    pub fn watch_applied(
        &self,
        group: GroupId,
    ) -> Result<watch::Receiver<Option<LogPosition>>, PartitionError> {
        Ok(self.group(group)?.watch_applied())
    }
}

impl<M: SiteMachine> Partition<M> {
    pub(crate) async fn logged(&self, after: LogIndex) -> Result<Option<Logged>, PartitionError> {
        let Some(applied) = self.applied().0.map(|position| position.index) else {
            return Ok(None);
        };
        if applied <= after {
            return Ok(None);
        }
        if let Some(given_up) = self.given_up(after) {
            return Ok(Some(given_up));
        }
        let first = LogIndex(after.0 + 1);
        let read = self.read_log_of(first, applied, LOGGED_BYTES_MAX).await;
        let read = match read {
            Ok(read) => read,
            Err(error) => return self.given_up(after).map(Some).ok_or(error),
        };
        let Some(last) = read.last().map(|entry| entry.position.index) else {
            return Err(PartitionError::Log {
                group: self.group,
                message: format!("there is nothing from entry {first} on"),
            });
        };
        // Before the notes: a verdict goes from here only when a note tells it.
        let recent = self.recent_verdicts.lock().of(first, last);
        let noted = match recent.are_all {
            true => Verdicts::new(),
            false => self.noted(first, last).await?,
        };
        let recent = recent.replies;
        // Notes go behind the floor, and so does the log.
        if let Some(given_up) = self.given_up(after) {
            return Ok(Some(given_up));
        }
        let mut entries = Vec::new();
        for committed in read {
            let Body::Command(command) = committed.body else {
                continue;
            };
            let index = committed.position.index;
            let Some(entry) = decode_body(self.group, index, command)? else {
                continue;
            };
            let partition_entry::Body::Events(batch) = entry.body else {
                continue;
            };
            let mut replied = recent.get(&index).map(|reply| &reply[..]);
            let mut codes = Vec::with_capacity(batch.sites.len());
            for (slice, events) in (0..).zip(&batch.sites) {
                let count = events.events.len();
                let own = replied.and_then(|reply| reply.split_at_checked(count));
                replied = own.map(|(_, rest)| rest);
                codes.push(match (noted.get(&(index, slice)), own) {
                    (Some(noted), _) => noted.clone(),
                    (None, Some((own, _))) => own.to_vec(),
                    (None, None) => vec![Verdict::Accepted.code(); count],
                });
            }
            entries.push(LoggedEntry {
                index,
                version: entry.version,
                stamp: entry.stamp,
                batch,
                codes,
            });
        }
        let through = last;
        Ok(Some(Logged::Entries { entries, through }))
    }

    /// What notes tell of these entries.
    async fn noted(&self, first: LogIndex, last: LogIndex) -> Result<Verdicts, PartitionError> {
        let settled = self.highest_floor().map(|floor| floor.position.index);
        if let Some(settled) = settled.filter(|settled| last <= *settled) {
            return self.verdicts_of(first, last, settled).await;
        }
        let rows = self.rows().snapshot();
        let noted = spawn_blocking(move || noted(&*rows, first, last)).await;
        let noted = noted.map_err(|_| PartitionError::Stopping(self.group))??;
        self.recent_verdicts.lock().note_older(noted.through);
        Ok(noted.verdicts)
    }

    /// Says where the entries behind one are when they may not be in the log any more.
    fn given_up(&self, after: LogIndex) -> Option<Logged> {
        let progress = self.progress.lock();
        let floor = progress.floor.as_ref().map(|floor| floor.position.index);
        let floor = floor.filter(|floor| *floor > after);
        let manifest = &progress.history.manifest;
        if manifest
            .sealed()
            .is_some_and(|sealed| sealed.position.index > after)
        {
            let began = manifest.began().unwrap_or_default().after;
            return match floor {
                // What is below the archive's beginning may be in this log yet.
                None if began > after => None,
                Some(_) if began > after => Some(Logged::Gone(began)),
                _ => Some(Logged::Sealed),
            };
        }
        let floor = floor?;
        let is_capped = progress
            .capped_since
            .is_some_and(|CappedSince(since)| since <= after);
        // Floors that wait for seals pass nothing else than what has no events.
        match is_capped || progress.quiet.is_quiet_after(after) {
            true => Some(Logged::Entries {
                entries: Vec::new(),
                through: floor,
            }),
            false => Some(Logged::Gone(floor)),
        }
    }

    /// How far the log may have gone without anything that sites were told behind `after`, for who has all that the archive
    /// holds up to there.
    pub(crate) fn quiet_through(&self, after: LogIndex) -> LogIndex {
        match self.given_up(after) {
            Some(Logged::Entries { through, .. }) => through,
            _ => after,
        }
    }

    /// Forgets verdicts that notes tell.
    pub(crate) fn forget_recent_verdicts(&self) {
        if let Some(settled) = self.highest_floor() {
            let settled = settled.position.index;
            self.recent_verdicts.lock().forget_through(settled);
        }
    }
}

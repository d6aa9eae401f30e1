//! What is replicated about a group's past: what its archive holds, and which generations its sites have.
//!
//! Changed by entries of the group's log alone, so it is alike on every replica. Rows hold it together with the index of
//! the last entry that changed it: entries up to there say nothing new.

use std::{collections::BTreeMap, ops::ControlFlow};

use bytes::{BufMut, Bytes, BytesMut};
use ringtail_checkpoint::{GroupBatch, GroupKey, GroupSnapshot, StoreError};
use ringtail_proto::{
    GroupId, LogIndex, SiteId,
    stored::{ArchiveChange, GenerationCommand},
};
use ringtail_raft::LogPosition;

use crate::{PartitionError, generations::Generations, manifest::Manifest};

const VERSION: u8 = 1;
/// The row that holds the index.
const INDEX: GroupKey = GroupKey::named("history");

/// A row and its new value, none to remove it.
pub(crate) type RowChange = (GroupKey, Option<Bytes>);

/// What an entry says about the group's past.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum HistoryCommand {
    Archive(ArchiveChange),
    Generation(GenerationCommand),
    /// The mirror has all changes of rows by entries up to here.
    Mirrored(LogIndex),
}

/// What is replicated about a group's past.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct GroupHistory {
    /// The last entry that changed it.
    index: LogIndex,
    pub(crate) manifest: Manifest,
    pub(crate) generations: Generations,
    /// Not in the rows: what is mirrored twice does no harm.
    pub(crate) mirrored: Option<LogIndex>,
    /// What the rows do not say yet.
    unwritten: BTreeMap<GroupKey, Option<Bytes>>,
}

impl GroupHistory {
    /// Reads what the rows say.
    pub(crate) fn load(group: GroupId, rows: &dyn GroupSnapshot) -> Result<Self, PartitionError> {
        let index = match rows.get(&INDEX)? {
            Some(value) => read_index(&value)?,
            None => LogIndex::default(),
        };
        Ok(Self {
            index,
            manifest: Manifest::load(group, rows)?,
            generations: Generations::load(rows)?,
            mirrored: None,
            unwritten: BTreeMap::new(),
        })
    }

    /// Applies an entry; false when it is void. One that the rows held already is so, too: nobody waits for its answer.
    pub(crate) fn apply(&mut self, at: LogPosition, command: &HistoryCommand) -> bool {
        if let HistoryCommand::Mirrored(through) = command {
            self.mirrored = self.mirrored.max(Some(*through));
            return true;
        }
        if at.index <= self.index {
            return false;
        }
        let changes = match command {
            HistoryCommand::Archive(change) => self.manifest.apply(at.term, change),
            HistoryCommand::Generation(command) => self.generations.apply(at.index, command),
            HistoryCommand::Mirrored(_) => None,
        };
        let Some(changes) = changes else {
            return false;
        };
        self.index = at.index;
        self.unwritten.extend(changes);
        true
    }

    /// What has ended and is sealed is forgotten, but at sites where it is fed for want of others. Replicas may differ in
    /// that: it decides nothing.
    pub(crate) fn forget_ended(&mut self, is_needed: impl Fn(SiteId) -> bool) {
        if let Some(sealed) = self.manifest.sealed() {
            let sealed = sealed.position.index;
            let rows = self.generations.forget_ended(sealed, is_needed);
            self.unwritten.extend(rows);
        }
    }

    /// The last entry that changed it.
    pub(crate) const fn index(&self) -> LogIndex {
        self.index
    }

    /// Adds what the rows do not say yet.
    pub(crate) fn write(&self, batch: &mut GroupBatch) {
        if self.unwritten.is_empty() {
            return;
        }
        for (key, value) in &self.unwritten {
            match value {
                Some(value) => batch.put(key, value.clone()),
                None => batch.remove(key),
            }
        }
        batch.put(&INDEX, index_row(self.index));
    }

    /// The rows say what memory said when it had this index.
    pub(crate) fn note_written(&mut self, index: LogIndex) {
        // What changed since is written again together with what did not.
        if self.index == index {
            self.unwritten.clear();
        }
    }
}

/// Visits the rows whose names begin with a prefix.
pub(crate) fn each_row(
    rows: &dyn GroupSnapshot,
    prefix: &[u8],
    visit: &mut dyn FnMut(GroupKey, Bytes) -> Result<(), StoreError>,
) -> Result<(), StoreError> {
    let first = GroupKey::Group(Bytes::copy_from_slice(prefix));
    let last = GroupKey::Group([prefix, &[0xff]].concat().into());
    let mut failed = None;
    rows.range(&first, &last, &mut |key, value| match visit(key, value) {
        Ok(()) => ControlFlow::Continue(()),
        Err(error) => {
            failed = Some(error);
            ControlFlow::Break(())
        }
    })?;
    failed.map_or(Ok(()), Err)
}

/// The bytes behind the version byte.
pub(crate) fn versioned(value: &Bytes, known: u8) -> Result<Bytes, StoreError> {
    match value.first() {
        Some(found) if *found == known => Ok(value.slice(1..)),
        Some(found) => Err(corrupt(format!(
            "version {found} is unknown, this binary knows {known}"
        ))),
        None => Err(corrupt("it is empty")),
    }
}

pub(crate) fn corrupt(message: impl std::fmt::Display) -> StoreError {
    StoreError::Corrupt {
        message: format!("a row of the group's history: {message}"),
    }
}

/// The value of a row that holds an index and nothing else.
pub(crate) fn index_row(index: LogIndex) -> Bytes {
    let mut value = BytesMut::with_capacity(9);
    value.put_u8(VERSION);
    value.put_u64(index.0);
    value.freeze()
}

/// Reads what [`index_row`] wrote.
pub(crate) fn read_index(value: &Bytes) -> Result<LogIndex, StoreError> {
    let body = versioned(value, VERSION)?;
    let index = <[u8; 8]>::try_from(&body[..]);
    let index = index.map_err(|_| corrupt("its index is cut short"))?;
    Ok(LogIndex(u64::from_be_bytes(index)))
}

#[cfg(test)]
mod tests;

//! What the group's archive holds: part of the replicated state, changed by entries alone.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::ControlFlow,
};

use bytes::{BufMut, Bytes, BytesMut};
use prost::Message as _;
use ringtail_checkpoint::{GroupBatch, GroupKey, GroupSnapshot, StoreError};
use ringtail_proto::{
    GroupId, LogIndex, NodeId, UnixMillis,
    stored::{ArchiveChange, ArchiveObject, Seal},
};
use ringtail_raft::LogPosition;

use crate::{PartitionError, floor_row::FloorRow};

const VERSION: u8 = 1;
/// The row that says up to which entry the manifest is, and how far the archive reaches.
const HEAD: GroupKey = GroupKey::named("archive");
/// In front of an object's path.
const OBJECT: &[u8] = b"archive/";

/// The archive's objects, and up to where they hold the group's entries.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Manifest {
    /// The last entry that changed it.
    index: LogIndex,
    sealed: Option<FloorRow>,
    objects: BTreeMap<Bytes, ArchiveObject>,
    /// Paths whose rows are not yet as memory has them.
    unwritten: BTreeSet<Bytes>,
    is_head_unwritten: bool,
}

impl Manifest {
    /// Reads what the rows say.
    pub(crate) fn load(group: GroupId, rows: &dyn GroupSnapshot) -> Result<Self, PartitionError> {
        let mut manifest = Self::default();
        if let Some(head) = rows.get(&HEAD)? {
            let (index, sealed) = read_head(&head)?;
            manifest.index = index;
            manifest.sealed = match sealed.is_empty() {
                true => None,
                false => Some(FloorRow::decode(group, sealed)?),
            };
        }
        let mut failed = None;
        let (first, last) = (object_key(b""), object_key(&[0xff]));
        rows.range(
            &first,
            &last,
            &mut |key, value| match read_object(&key, &value) {
                Ok(object) => {
                    manifest.objects.insert(object.path.clone(), object);
                    ControlFlow::Continue(())
                }
                Err(error) => {
                    failed = Some(error);
                    ControlFlow::Break(())
                }
            },
        )?;
        failed.map_or(Ok(manifest), |error| Err(error.into()))
    }

    /// Up to where the archive holds everything.
    pub(crate) const fn sealed(&self) -> Option<&FloorRow> {
        self.sealed.as_ref()
    }

    /// All objects, by path.
    pub(crate) fn objects(&self) -> impl Iterator<Item = &ArchiveObject> {
        self.objects.values()
    }

    /// Applies an entry; false when it is void. One that the rows held already is so, too: nobody waits for its answer.
    pub(crate) fn apply(&mut self, at: LogPosition, change: &ArchiveChange) -> bool {
        if at.index <= self.index || change.term != at.term || !self.fits(change) {
            return false;
        }
        for path in &change.removed {
            self.objects.remove(path);
            self.unwritten.insert(path.clone());
        }
        for object in &change.added {
            self.objects.insert(object.path.clone(), object.clone());
            self.unwritten.insert(object.path.clone());
        }
        if let Some(seal) = &change.seal {
            self.sealed = Some(row_of(seal));
        }
        self.index = at.index;
        self.is_head_unwritten = true;
        true
    }

    fn fits(&self, change: &ArchiveChange) -> bool {
        let follows = change.seal.as_ref().is_none_or(|seal| {
            let after = self.sealed.as_ref().map(|row| row.position.index);
            seal.index > seal.after_index
                && after.is_none_or(|after| after == LogIndex(seal.after_index))
        });
        let mut removed = change.removed.iter();
        let mut added = change.added.iter().map(|object| &object.path);
        follows
            && removed.all(|path| self.objects.contains_key(path))
            && added.all(|path| path.len() <= PATH_BYTES_MAX && !self.objects.contains_key(path))
    }

    /// Adds what the rows do not say yet.
    pub(crate) fn write(&self, batch: &mut GroupBatch) {
        if !self.is_head_unwritten {
            return;
        }
        for path in &self.unwritten {
            let key = object_key(path);
            match self.objects.get(path) {
                Some(object) => {
                    let mut value = BytesMut::with_capacity(1 + object.encoded_len());
                    value.put_u8(VERSION);
                    value.put_slice(&object.encode_to_vec());
                    batch.put(&key, value.freeze());
                }
                None => batch.remove(&key),
            }
        }
        let mut head = BytesMut::new();
        head.put_u8(VERSION);
        head.put_u64(self.index.0);
        if let Some(sealed) = &self.sealed {
            head.put_slice(&sealed.encode());
        }
        batch.put(&HEAD, head.freeze());
    }

    /// The rows are as memory was when it had this index; true when they still are.
    pub(crate) fn note_written(&mut self, index: LogIndex) -> bool {
        let is_current = self.index == index;
        if is_current {
            self.unwritten.clear();
            self.is_head_unwritten = false;
        }
        is_current
    }

    /// The last entry that changed it.
    pub(crate) const fn index(&self) -> LogIndex {
        self.index
    }
}

/// Longest path: a row's name has it behind a prefix.
pub(crate) const PATH_BYTES_MAX: usize = ringtail_checkpoint::GROUP_NAME_BYTES_MAX - OBJECT.len();

fn row_of(seal: &Seal) -> FloorRow {
    FloorRow {
        position: LogPosition {
            term: seal.term,
            node: NodeId(seal.node),
            index: LogIndex(seal.index),
        },
        stamp: UnixMillis(seal.stamp_ms),
        membership: (!seal.membership.is_empty()).then(|| seal.membership.clone()),
    }
}

fn object_key(path: &[u8]) -> GroupKey {
    GroupKey::Group([OBJECT, path].concat().into())
}

fn read_head(value: &Bytes) -> Result<(LogIndex, Bytes), StoreError> {
    let body = versioned(value)?;
    let index = body.first_chunk::<8>();
    let index = index.ok_or_else(|| corrupt("it is cut short"))?;
    Ok((LogIndex(u64::from_be_bytes(*index)), body.slice(8..)))
}

fn read_object(key: &GroupKey, value: &Bytes) -> Result<ArchiveObject, StoreError> {
    let object = ArchiveObject::decode(versioned(value)?);
    let object = object.map_err(|error| corrupt(&error.to_string()))?;
    match object_key(&object.path) == *key {
        true => Ok(object),
        false => Err(corrupt("an object lies under another's path")),
    }
}

fn versioned(value: &Bytes) -> Result<Bytes, StoreError> {
    match value.first() {
        Some(&VERSION) => Ok(value.slice(1..)),
        Some(found) => Err(corrupt(&format!(
            "version {found} is unknown, this binary knows {VERSION}"
        ))),
        None => Err(corrupt("it is empty")),
    }
}

fn corrupt(message: &str) -> StoreError {
    StoreError::Corrupt {
        message: format!("the archive's manifest: {message}"),
    }
}

#[cfg(test)]
mod tests;

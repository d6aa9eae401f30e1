//! What the group's archive holds: part of the replicated state, changed by entries alone.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use bytes::{Buf as _, BufMut, Bytes, BytesMut};
use prost::Message as _;
use ringtail_checkpoint::{GroupKey, GroupSnapshot, StoreError};
use ringtail_proto::{
    GroupId, LogIndex, NodeId, UnixMillis,
    stored::{ArchiveChange, ArchiveObject, Seal},
};
use ringtail_raft::LogPosition;

use crate::{
    PartitionError,
    floor_row::FloorRow,
    group_history::{RowChange, corrupt, each_row, versioned},
};

const VERSION: u8 = 1;
/// The row that says how far the archive reaches, in the shape of a floor.
const SEALED: GroupKey = GroupKey::named("archive");
/// The row that says where the archive begins.
const BEGAN: GroupKey = GroupKey::named("archive-began");
/// In front of an object's path.
const OBJECT: &[u8] = b"archive/";

/// Where a group's archive begins.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ArchiveBegan {
    /// Entries up to here may be in no object; 0 when the group is archived from its first entry on.
    pub after: LogIndex,
    /// The stamp of the first entry that is archived.
    pub stamp: UnixMillis,
}

impl ArchiveBegan {
    fn encode(self) -> Bytes {
        let mut value = BytesMut::with_capacity(17);
        value.put_u8(VERSION);
        value.put_u64(self.after.0);
        value.put_i64(self.stamp.0);
        value.freeze()
    }

    fn decode(value: &Bytes) -> Result<Self, StoreError> {
        let mut body = versioned(value, VERSION)?;
        match (body.try_get_u64(), body.try_get_i64()) {
            (Ok(after), Ok(stamp)) if body.is_empty() => Ok(Self {
                after: LogIndex(after),
                stamp: UnixMillis(stamp),
            }),
            _ => Err(corrupt("where the archive begins has another length")),
        }
    }
}

/// The archive's objects, and up to where they hold the group's entries.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Manifest {
    sealed: Option<FloorRow>,
    began: Option<ArchiveBegan>,
    /// Shared with readers: a change copies it only while one of them looks at it.
    objects: Arc<BTreeMap<Bytes, ArchiveObject>>,
}

impl Manifest {
    /// Reads what the rows say.
    pub(crate) fn load(group: GroupId, rows: &dyn GroupSnapshot) -> Result<Self, PartitionError> {
        let mut manifest = Self::default();
        if let Some(sealed) = rows.get(&SEALED)? {
            manifest.sealed = Some(FloorRow::decode(group, sealed)?);
        }
        if let Some(began) = rows.get(&BEGAN)? {
            manifest.began = Some(ArchiveBegan::decode(&began)?);
        }
        let mut objects = BTreeMap::new();
        each_row(rows, OBJECT, &mut |key, value| {
            let object = read_object(&key, &value)?;
            objects.insert(object.path.clone(), object);
            Ok(())
        })?;
        manifest.objects = Arc::new(objects);
        Ok(manifest)
    }

    /// Up to where the archive holds everything.
    pub(crate) const fn sealed(&self) -> Option<&FloorRow> {
        self.sealed.as_ref()
    }

    /// Where the archive begins; none before the first seal.
    pub(crate) const fn began(&self) -> Option<ArchiveBegan> {
        self.began
    }

    /// All objects, by path.
    pub(crate) const fn objects(&self) -> &Arc<BTreeMap<Bytes, ArchiveObject>> {
        &self.objects
    }

    /// Applies a change that was proposed in a term; tells which rows change, nothing when it is void.
    pub(crate) fn apply(&mut self, term: u64, change: &ArchiveChange) -> Option<Vec<RowChange>> {
        if change.term != term || !self.fits(change) {
            return None;
        }
        let mut rows = Vec::new();
        let objects = Arc::make_mut(&mut self.objects);
        for path in &change.removed {
            objects.remove(path);
            rows.push((object_key(path), None));
        }
        for object in &change.added {
            objects.insert(object.path.clone(), object.clone());
            rows.push((object_key(&object.path), Some(object_row(object))));
        }
        if let Some(seal) = &change.seal {
            if let Some(after) = seal.began_index.filter(|_| self.sealed.is_none()) {
                let began = ArchiveBegan {
                    after: LogIndex(after),
                    stamp: UnixMillis(seal.began_ms),
                };
                rows.push((BEGAN, Some(began.encode())));
                self.began = Some(began);
            }
            let sealed = row_of(seal);
            rows.push((SEALED, Some(sealed.encode())));
            self.sealed = Some(sealed);
        }
        Some(rows)
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
            && !self.would_overlap(change)
    }

    /// True when two objects of a table would hold the same entries: nobody could read either in the order of the log.
    fn would_overlap(&self, change: &ArchiveChange) -> bool {
        let removed: BTreeSet<&Bytes> = change.removed.iter().collect();
        let kept = self.objects.values();
        let kept = kept.filter(|object| !removed.contains(&object.path));
        change.added.iter().enumerate().any(|(place, added)| {
            let others = kept.clone().chain(change.added.iter().skip(place + 1));
            // What names no table spans nothing.
            let mut others = others.filter(|other| other.table == added.table && added.table != 0);
            others.any(|other| {
                other.first_index <= added.last_index && added.first_index <= other.last_index
            })
        })
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

fn object_row(object: &ArchiveObject) -> Bytes {
    let mut value = BytesMut::with_capacity(1 + object.encoded_len());
    value.put_u8(VERSION);
    value.put_slice(&object.encode_to_vec());
    value.freeze()
}

fn read_object(key: &GroupKey, value: &Bytes) -> Result<ArchiveObject, StoreError> {
    let object = ArchiveObject::decode(versioned(value, VERSION)?);
    let object = object.map_err(|error| corrupt(error.to_string()))?;
    match object_key(&object.path) == *key {
        true => Ok(object),
        false => Err(corrupt("an object lies under another's path")),
    }
}

#[cfg(test)]
mod tests;

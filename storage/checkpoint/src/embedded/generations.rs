//! Which keyspace holds a group's rows.
//!
//! A keyspace is never emptied and filled again: rows that replace others are gathered in a keyspace of a new
//! generation, and one small row in the keyspace [`REPLICAS`] says which generation counts. All keyspaces share one
//! journal, so that row is never on disk without the rows it speaks of.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::atomic::{AtomicU64, Ordering},
};

use fjall::{Database, KeyspaceCreateOptions, Readable as _};
use parking_lot::{RwLock, RwLockReadGuard};
use ringtail_proto::GroupId;

use super::{directory, read_error};
use crate::StoreError;

/// The keyspace that names each group's generation, by group id; a group that is not in it has generation 0.
const REPLICAS: &str = "replicas";

const VERSION: u8 = 1;

/// Which keyspace holds a group's rows.
pub(super) struct Generations {
    path: PathBuf,
    current: RwLock<BTreeMap<GroupId, u64>>,
    /// Above every generation that any keyspace has or had.
    next: AtomicU64,
}

/// Why another generation could not be made the current one.
pub(super) enum SwitchError {
    Engine(fjall::Error),
    Store(StoreError),
}

impl Generations {
    /// Reads the generations, and deletes keyspaces that no group uses: what a crash left of a replacement.
    pub(super) fn open(path: &Path, database: &Database) -> Result<Self, StoreError> {
        let mut current = BTreeMap::new();
        if database.keyspace_exists(REPLICAS) {
            let replicas = database
                .keyspace(REPLICAS, KeyspaceCreateOptions::default)
                .map_err(read_error)?;
            for row in database.snapshot().iter(&replicas) {
                let (key, value) = row.into_inner().map_err(read_error)?;
                let (group, generation) = decode(&key, &value)?;
                current.insert(group, generation);
            }
        }
        let mut highest = current.values().copied().max().unwrap_or_default();
        for name in database.list_keyspace_names() {
            let Some((group, generation)) = parse_name(&name) else {
                continue;
            };
            highest = highest.max(generation);
            if current.get(&group).copied().unwrap_or_default() != generation {
                tracing::info!(%name, "checkpoint: deleting rows that were never finished or are not needed");
                delete_keyspace(database, &name).map_err(read_error)?;
            }
        }
        Ok(Self {
            path: path.into(),
            current: RwLock::new(current),
            next: AtomicU64::new(highest + 1),
        })
    }

    pub(super) fn of(&self, group: GroupId) -> u64 {
        self.current.read().get(&group).copied().unwrap_or_default()
    }

    /// A generation that no keyspace has or had.
    pub(super) fn next(&self) -> u64 {
        self.next.fetch_add(1, Ordering::Relaxed)
    }

    /// Keeps the generations as they are while a batch is written; refuses one of an old generation.
    pub(super) fn hold(
        &self,
        group: GroupId,
        generation: u64,
    ) -> Result<RwLockReadGuard<'_, BTreeMap<GroupId, u64>>, StoreError> {
        let current = self.current.read();
        match current.get(&group).copied().unwrap_or_default() == generation {
            true => Ok(current),
            false => Err(StoreError::Replaced { group }),
        }
    }

    /// Makes a generation the current one, in the database and here; returns the old one.
    pub(super) fn switch(
        &self,
        database: &Database,
        group: GroupId,
        generation: u64,
        persist: impl FnOnce() -> Result<(), StoreError>,
    ) -> Result<u64, SwitchError> {
        // An older binary would look for the rows in the first keyspace.
        directory::mark_replaceable(&self.path).map_err(SwitchError::Store)?;
        let replicas = database
            .keyspace(REPLICAS, KeyspaceCreateOptions::default)
            .map_err(SwitchError::Engine)?;
        directory::sync_keyspaces(&self.path).map_err(SwitchError::Store)?;
        let mut current = self.current.write();
        replicas
            .insert(group.0.to_be_bytes(), encode(generation))
            .map_err(SwitchError::Engine)?;
        persist().map_err(SwitchError::Store)?;
        Ok(current.insert(group, generation).unwrap_or_default())
    }
}

/// The first keyspace of a group has no generation in its name.
pub(super) fn keyspace_name(group: GroupId, generation: u64) -> String {
    match generation {
        0 => format!("group-{group}"),
        _ => format!("group-{group}-{generation}"),
    }
}

/// Deletes a keyspace if it is there. Readers that have it open go on reading.
pub(super) fn delete_keyspace(database: &Database, name: &str) -> fjall::Result<()> {
    if !database.keyspace_exists(name) {
        return Ok(());
    }
    let keyspace = database.keyspace(name, KeyspaceCreateOptions::default)?;
    database.delete_keyspace(keyspace)
}

fn parse_name(name: &str) -> Option<(GroupId, u64)> {
    let rest = name.strip_prefix("group-")?;
    let (group, generation) = rest.split_once('-').unwrap_or((rest, "0"));
    Some((GroupId(group.parse().ok()?), generation.parse().ok()?))
}

/// Version, generation.
fn encode(generation: u64) -> Vec<u8> {
    let mut bytes = vec![VERSION];
    bytes.extend(generation.to_be_bytes());
    bytes
}

fn decode(key: &[u8], value: &[u8]) -> Result<(GroupId, u64), StoreError> {
    let group = key.try_into().ok().map(u32::from_be_bytes).map(GroupId);
    let generation = match value.split_first() {
        Some((&VERSION, rest)) => rest.try_into().ok().map(u64::from_be_bytes),
        _ => None,
    };
    group.zip(generation).ok_or_else(|| StoreError::Corrupt {
        message: format!("row {key:?} of {REPLICAS} holds {value:?}"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_rows_survive_their_text_and_bytes() {
        for (group, generation) in [(0, 0), (1, 0), (7, 1), (16, 300)] {
            let group = GroupId(group);
            let name = keyspace_name(group, generation);
            assert_eq!(parse_name(&name), Some((group, generation)));
            let decoded = decode(&group.0.to_be_bytes(), &encode(generation));
            assert_eq!(decoded, Ok((group, generation)));
        }
        for name in ["replicas", "group-", "group-x", "group-1-", "group-1-2-3"] {
            assert_eq!(parse_name(name), None);
        }
    }

    #[test]
    fn damaged_rows_are_refused() {
        let key = GroupId(1).0.to_be_bytes();
        for value in [&b""[..], b"\x01\0", b"\x02\0\0\0\0\0\0\0\x01"] {
            assert!(matches!(
                decode(&key, value),
                Err(StoreError::Corrupt { .. })
            ));
        }
        assert!(decode(b"odd", &encode(1)).is_err());
    }
}

//! A store in memory, for tests and simulation. It can crash like a disk.

use std::{
    collections::BTreeMap,
    ops::{Bound, ControlFlow},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use bytes::Bytes;
use parking_lot::Mutex;
use ringtail_proto::GroupId;

use crate::{
    CheckpointStore, GroupBatch, GroupKey, GroupReplacement, GroupSnapshot, GroupStore, RawRow,
    StoreError, row_check::RowCheck,
};

type Rows = BTreeMap<Bytes, Bytes>;

/// A store in memory. Clones share the rows, so that a "process" can be dropped and started again over them.
#[derive(Clone, Default)]
pub struct MemoryStore {
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    content: Mutex<Content>,
    written_bytes: AtomicU64,
}

#[derive(Default)]
struct Content {
    visible: BTreeMap<GroupId, Arc<Rows>>,
    durable: BTreeMap<GroupId, Arc<Rows>>,
    /// Batches since the last persist, in order: a crash keeps some first part of them.
    unpersisted: Vec<(GroupId, GroupBatch)>,
    /// How often a group's rows were replaced: handles on older ones take no more batches.
    generations: BTreeMap<GroupId, u64>,
    failure: Option<StoreError>,
}

impl MemoryStore {
    /// An empty store.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The number of batches that a crash could lose.
    #[must_use]
    pub fn unpersisted(&self) -> usize {
        self.shared.content.lock().unpersisted.len()
    }

    /// Loses power: of the batches since the last persist only the first `kept` survive.
    pub fn crash(&self, kept: usize) {
        let content = &mut *self.shared.content.lock();
        content.visible = content.durable.clone();
        let unpersisted = std::mem::take(&mut content.unpersisted);
        for (group, batch) in unpersisted.into_iter().take(kept) {
            apply(&mut content.visible, group, batch);
        }
        content.durable = content.visible.clone();
        content.failure = None;
    }

    /// From now on commits and persists answer with this error; none lets them go on.
    pub fn fail_with(&self, failure: Option<StoreError>) {
        self.shared.content.lock().failure = failure;
    }
}

impl CheckpointStore for MemoryStore {
    fn group(&self, group: GroupId) -> Result<Arc<dyn GroupStore>, StoreError> {
        let generation = self.shared.content.lock().generation(group);
        Ok(Arc::new(MemoryGroup {
            shared: self.shared.clone(),
            group,
            generation,
        }))
    }

    fn replace_group(&self, group: GroupId) -> Result<Box<dyn GroupReplacement>, StoreError> {
        self.shared.content.lock().check()?;
        Ok(Box::new(MemoryReplacement {
            shared: self.shared.clone(),
            group,
            rows: Rows::new(),
            check: RowCheck::default(),
        }))
    }

    fn remove_group(&self, group: GroupId) -> Result<(), StoreError> {
        self.shared.content.lock().replace(group, Rows::new())
    }

    fn persist(&self) -> Result<(), StoreError> {
        let content = &mut *self.shared.content.lock();
        content.check()?;
        content.persist();
        Ok(())
    }

    fn written_bytes(&self) -> u64 {
        self.shared.written_bytes.load(Ordering::Relaxed)
    }

    fn disk_bytes(&self) -> u64 {
        let content = self.shared.content.lock();
        let rows = content.visible.values().flat_map(|rows| rows.iter());
        rows.map(|(key, value)| (key.len() + value.len()) as u64)
            .sum()
    }
}

impl Content {
    fn check(&self) -> Result<(), StoreError> {
        self.failure.clone().map_or(Ok(()), Err)
    }

    fn generation(&self, group: GroupId) -> u64 {
        self.generations.get(&group).copied().unwrap_or_default()
    }

    fn persist(&mut self) {
        self.durable = self.visible.clone();
        self.unpersisted.clear();
    }

    fn replace(&mut self, group: GroupId, rows: Rows) -> Result<(), StoreError> {
        self.check()?;
        self.visible.insert(group, Arc::new(rows));
        *self.generations.entry(group).or_default() += 1;
        self.persist();
        Ok(())
    }
}

fn apply(groups: &mut BTreeMap<GroupId, Arc<Rows>>, group: GroupId, batch: GroupBatch) {
    let rows = Arc::make_mut(groups.entry(group).or_default());
    for (key, value) in batch.into_changes() {
        match value {
            Some(value) => rows.insert(key, value),
            None => rows.remove(&key),
        };
    }
}

struct MemoryGroup {
    shared: Arc<Shared>,
    group: GroupId,
    generation: u64,
}

impl GroupStore for MemoryGroup {
    fn group(&self) -> GroupId {
        self.group
    }

    fn snapshot(&self) -> Arc<dyn GroupSnapshot> {
        let content = self.shared.content.lock();
        let is_current = content.generation(self.group) == self.generation;
        let rows = content
            .visible
            .get(&self.group)
            .filter(|_| is_current)
            .cloned();
        Arc::new(MemorySnapshot {
            rows: rows.unwrap_or_default(),
        })
    }

    fn commit(&self, batch: GroupBatch) -> Result<(), StoreError> {
        batch.check_sizes()?;
        let content = &mut *self.shared.content.lock();
        content.check()?;
        if content.generation(self.group) != self.generation {
            return Err(StoreError::Replaced { group: self.group });
        }
        self.shared
            .written_bytes
            .fetch_add(batch.value_bytes(), Ordering::Relaxed);
        content.unpersisted.push((self.group, batch.clone()));
        apply(&mut content.visible, self.group, batch);
        Ok(())
    }

    fn check_room(&self) -> Result<(), StoreError> {
        self.shared.content.lock().check()
    }
}

/// Rows on their way into the place of a group's rows.
struct MemoryReplacement {
    shared: Arc<Shared>,
    group: GroupId,
    rows: Rows,
    check: RowCheck,
}

impl GroupReplacement for MemoryReplacement {
    fn put(&mut self, rows: Vec<RawRow>) -> Result<(), StoreError> {
        self.check.check(&rows)?;
        self.shared.content.lock().check()?;
        let value_bytes = rows.iter().map(|(_, value)| value.len() as u64).sum();
        self.shared
            .written_bytes
            .fetch_add(value_bytes, Ordering::Relaxed);
        self.rows.extend(rows);
        Ok(())
    }

    fn finish(self: Box<Self>) -> Result<(), StoreError> {
        let Self {
            shared,
            group,
            rows,
            ..
        } = *self;
        shared.content.lock().replace(group, rows)
    }
}

struct MemorySnapshot {
    rows: Arc<Rows>,
}

impl GroupSnapshot for MemorySnapshot {
    fn get(&self, key: &GroupKey) -> Result<Option<Bytes>, StoreError> {
        Ok(self.rows.get(&key.encode()).cloned())
    }

    fn range(
        &self,
        from: &GroupKey,
        to: &GroupKey,
        visit: &mut dyn FnMut(GroupKey, Bytes) -> ControlFlow<()>,
    ) -> Result<(), StoreError> {
        // An inverted range is empty here; the map would panic.
        if from > to {
            return Ok(());
        }
        for (key, value) in self.rows.range(from.encode()..=to.encode()) {
            if visit(GroupKey::decode(key)?, value.clone()).is_break() {
                break;
            }
        }
        Ok(())
    }

    fn rows_after(&self, after: Option<&[u8]>, bytes_max: u64) -> Result<Vec<RawRow>, StoreError> {
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let mut rows = Vec::new();
        let mut bytes = 0;
        for (key, value) in self.rows.range::<[u8], _>((from, Bound::Unbounded)) {
            bytes += (key.len() + value.len()) as u64;
            if bytes > bytes_max && !rows.is_empty() {
                break;
            }
            rows.push((key.clone(), value.clone()));
        }
        Ok(rows)
    }
}

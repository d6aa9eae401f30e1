//! A store in memory, for tests and simulation. It can crash like a disk.

use std::{
    collections::BTreeMap,
    ops::ControlFlow,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use bytes::Bytes;
use parking_lot::Mutex;
use ringtail_proto::GroupId;

use crate::{CheckpointStore, GroupBatch, GroupKey, GroupSnapshot, GroupStore, StoreError};

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
        Ok(Arc::new(MemoryGroup {
            shared: self.shared.clone(),
            group,
        }))
    }

    fn persist(&self) -> Result<(), StoreError> {
        let content = &mut *self.shared.content.lock();
        content.check()?;
        content.durable = content.visible.clone();
        content.unpersisted.clear();
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
}

impl GroupStore for MemoryGroup {
    fn group(&self) -> GroupId {
        self.group
    }

    fn snapshot(&self) -> Arc<dyn GroupSnapshot> {
        let content = self.shared.content.lock();
        let rows = content.visible.get(&self.group).cloned();
        Arc::new(MemorySnapshot {
            rows: rows.unwrap_or_default(),
        })
    }

    fn commit(&self, batch: GroupBatch) -> Result<(), StoreError> {
        batch.check_sizes()?;
        let content = &mut *self.shared.content.lock();
        content.check()?;
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
}

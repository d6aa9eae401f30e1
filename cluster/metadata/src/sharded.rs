//! A map that many threads read while one changes it.

use std::{
    borrow::Borrow,
    hash::{BuildHasher, Hash},
};

use hashbrown::{DefaultHashBuilder, HashMap};
use parking_lot::RwLock;

/// Readers rarely meet the writer on the same shard, and a growing shard moves few entries at once.
const SHARDS: usize = 64;

/// A map in [`SHARDS`] parts with a lock each, held only for the time of one look-up or change.
pub(crate) struct Sharded<K, V> {
    hasher: DefaultHashBuilder,
    shards: Box<[RwLock<HashMap<K, V>>]>,
}

impl<K: Hash + Eq, V: Clone> Sharded<K, V> {
    pub(crate) fn new() -> Self {
        Self {
            hasher: DefaultHashBuilder::default(),
            shards: (0..SHARDS).map(|_| RwLock::default()).collect(),
        }
    }

    pub(crate) fn get<Q>(&self, key: &Q) -> Option<V>
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        self.shard(key).read().get(key).cloned()
    }

    pub(crate) fn insert(&self, key: K, value: V) -> Option<V> {
        self.shard(&key).write().insert(key, value)
    }

    pub(crate) fn remove<Q>(&self, key: &Q) -> Option<V>
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        self.shard(key).write().remove(key)
    }

    pub(crate) fn len(&self) -> usize {
        self.shards.iter().map(|shard| shard.read().len()).sum()
    }

    /// All values, in no order.
    pub(crate) fn values(&self) -> Vec<V> {
        let mut values = Vec::with_capacity(self.len());
        for shard in &self.shards {
            values.extend(shard.read().values().cloned());
        }
        values
    }

    fn shard<Q: Hash + ?Sized>(&self, key: &Q) -> &RwLock<HashMap<K, V>> {
        // The low bits choose the bucket within the shard, so the shard is chosen by others.
        let position = (self.hasher.hash_one(key) >> 32) as usize % SHARDS;
        self.shards
            .get(position)
            .expect("the remainder is below the number of shards")
    }
}

//! Decoded pages and merges of them, shared by all queries of a node.

use std::sync::Arc;

use moka::sync::Cache;
use ringtail_analytics::CellTable;
use ringtail_proto::{SiteId, SiteRow};

/// Names cells by what they were computed from: content that changes has another name, so that nothing is ever stale
/// and nothing has to be removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum CacheKey {
    Page {
        site: SiteId,
        row: SiteRow,
        dimension: u32,
        contents: u64,
    },
    Merged {
        site: SiteId,
        dimension: u32,
        contents: u64,
    },
}

/// Holds the tables used last, up to a number of bytes.
pub(crate) struct TableCache {
    tables: Cache<CacheKey, Arc<CellTable>>,
}

impl TableCache {
    pub(crate) fn new(bytes_max: u64) -> Self {
        let weigh = |_: &CacheKey, table: &Arc<CellTable>| {
            u32::try_from(table.memory_bytes()).unwrap_or(u32::MAX)
        };
        Self {
            tables: Cache::builder()
                .max_capacity(bytes_max)
                .weigher(weigh)
                .build(),
        }
    }

    pub(crate) fn get(&self, key: &CacheKey) -> Option<Arc<CellTable>> {
        self.tables.get(key)
    }

    pub(crate) fn insert(&self, key: CacheKey, table: &Arc<CellTable>) {
        self.tables.insert(key, Arc::clone(table));
    }
}

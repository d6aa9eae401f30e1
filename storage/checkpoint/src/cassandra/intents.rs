//! Which writes of a site were begun and never finished.
//!
//! A write says that it begins before it sends any row, and takes that back when its site row is acknowledged. What a
//! leader leaves that died in between would otherwise be read by later pins, where no later leader wrote the same row:
//! rows of a checkpoint that never was, perhaps half of their chunks. Nothing of another writer is ever removed, since
//! it may only be slow; readers leave it out.

use std::{collections::BTreeSet, sync::Arc};

use bytes::Bytes;
use uuid::Uuid;

use ringtail_proto::{GroupId, SiteGeneration, SiteRow};

use super::{MirrorError, cells, link::Link, partition::Partition, table::Cell};
use crate::GroupKey;

/// No row of a group has this key; it lies beside the site row.
const INTENT_KEY: Bytes = Bytes::from_static(&[0]);

/// One site's place for intents.
#[derive(Clone, Debug)]
pub(super) struct Intents {
    partition: Partition,
    site_key: Bytes,
}

impl Intents {
    pub(super) fn of(incarnation: Uuid, group: GroupId, site: SiteGeneration) -> Self {
        let key = GroupKey::Site(site, SiteRow::Site);
        Self {
            partition: Partition::of(incarnation, group, &key),
            site_key: key.encode(),
        }
    }

    /// The intents beside a row; none unless it is a site row.
    pub(super) fn beside(partition: Partition, key: &Bytes) -> Option<Self> {
        let is_site = matches!(GroupKey::decode(key), Ok(GroupKey::Site(_, SiteRow::Site)));
        is_site.then(|| Self {
            partition,
            site_key: key.clone(),
        })
    }

    /// Says that a write begins.
    pub(super) async fn begin(&self, link: &Link, version: i64) -> Result<(), MirrorError> {
        let value = cells::split(Some(&Bytes::new()));
        let cells = value.into_iter().map(|value| Cell {
            partition: self.partition,
            key: INTENT_KEY,
            version,
            chunk: 0,
            value,
        });
        link.put_all(cells.collect()).await
    }

    /// Takes it back: the site row is acknowledged.
    pub(super) async fn end(&self, link: &Link, version: i64) -> Result<(), MirrorError> {
        link.remove_version(self.partition, &INTENT_KEY, version)
            .await
    }

    /// The versions up to one that were begun and are not finished: those without a site row.
    pub(super) async fn unfinished(
        &self,
        link: &Link,
        version_max: i64,
    ) -> Result<Arc<[i64]>, MirrorError> {
        let (begun, finished) = self.sort_out(link, version_max).await?;
        Ok(begun.difference(&finished).copied().collect())
    }

    /// Takes back those whose site row is there, before it is removed. Nearly always there are none.
    pub(super) async fn end_finished(
        &self,
        link: &Link,
        version_max: i64,
    ) -> Result<(), MirrorError> {
        let (begun, finished) = self.sort_out(link, version_max).await?;
        for version in begun.intersection(&finished) {
            self.end(link, *version).await?;
        }
        Ok(())
    }

    /// What was begun, and if there is any of that, the versions of the site row.
    async fn sort_out(
        &self,
        link: &Link,
        version_max: i64,
    ) -> Result<(BTreeSet<i64>, BTreeSet<i64>), MirrorError> {
        // In this order: what was finished since the first answer must not look unfinished.
        let begun = link
            .versions_of(self.partition, &INTENT_KEY, version_max)
            .await?;
        if begun.is_empty() {
            return Ok((begun, BTreeSet::new()));
        }
        let finished = link
            .versions_of(self.partition, &self.site_key, version_max)
            .await?;
        Ok((begun, finished))
    }
}

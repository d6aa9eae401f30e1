//! Sets of rows, of which one is a group's.

use std::{ops::Range, sync::Arc};

use bytes::Bytes;
use parking_lot::Mutex;
use ringtail_proto::{GroupId, SiteGeneration};
use uuid::Uuid;

use super::Shared;
use crate::{
    GroupKey, StoreError,
    cassandra::{
        MirrorError,
        link::Link,
        partition::{GROUP_BUCKET, Partition},
    },
};

/// A set that is not yet a group's.
const UNFINISHED: i64 = 0;

/// One set of rows and how far it is committed.
pub(super) struct RowSet {
    pub(super) incarnation: Uuid,
    /// Counts the sets of a group: the highest one is the group's.
    pub(super) number: i64,
    pub(super) head: Mutex<Head>,
    /// Held while a batch is written.
    pub(super) writing: Mutex<()>,
}

/// The versions of a set.
#[derive(Clone, Copy, Debug)]
pub(super) struct Head {
    /// What readers see.
    pub(super) committed: i64,
    /// What the next batch gets; none after a batch whose outcome is not known.
    pub(super) next: Option<i64>,
}

impl RowSet {
    pub(super) fn new(number: i64) -> Self {
        Self {
            incarnation: Uuid::new_v4(),
            number,
            head: Mutex::new(Head {
                committed: 0,
                next: Some(1),
            }),
            writing: Mutex::default(),
        }
    }
}

/// The row whose newest version is the one that readers see. Its name cannot be that of a row of the group: it is longer.
pub(super) fn head_key() -> GroupKey {
    GroupKey::Group(Bytes::from_static(&[0xff; crate::GROUP_NAME_BYTES_MAX + 1]))
}

impl Shared {
    /// The set that is a group's rows; made when there is none, cleaned up when this process sees it first or after a
    /// batch of unknown outcome.
    pub(super) fn set(&self, group: GroupId) -> Result<Arc<RowSet>, StoreError> {
        if let Some(set) = self.current(group)
            && set.head.lock().next.is_some()
        {
            return Ok(set);
        }
        let link = self.mirror.link();
        let set = Arc::new(self.wait(async || open(link, group).await)?);
        self.sets.lock().insert(group, set.clone());
        Ok(set)
    }

    /// Notes a set before anything is in it, so that it can be found if it is never finished.
    pub(super) fn begin_set(&self, group: GroupId) -> Result<RowSet, StoreError> {
        let number = self.current(group).map_or(0, |set| set.number);
        let set = RowSet::new(number + 1);
        let link = self.mirror.link();
        self.wait(async || note(link, group, set.incarnation, UNFINISHED).await)?;
        Ok(set)
    }

    /// Makes a set the group's.
    pub(super) fn finish_set(&self, group: GroupId, mut set: RowSet) -> Result<(), StoreError> {
        let mut sets = self.sets.lock();
        let number = sets.get(&group).map_or(0, |set| set.number) + 1;
        let link = self.mirror.link();
        self.wait(async || note(link, group, set.incarnation, number).await)?;
        set.number = number;
        sets.insert(group, Arc::new(set));
        Ok(())
    }
}

async fn note(
    link: &Link,
    group: GroupId,
    incarnation: Uuid,
    number: i64,
) -> Result<(), MirrorError> {
    let values = (link.cluster, group.0 as i32, incarnation, number);
    link.run(|at| &at.put_row_set, values).await
}

async fn open(link: &Link, group: GroupId) -> Result<RowSet, MirrorError> {
    let values = (link.cluster, group.0 as i32);
    let mut sets: Vec<(Uuid, i64)> = link.rows(|at| &at.row_sets, values).await?;
    sets.sort_by_key(|(_, number)| *number);
    let current = sets.pop_if(|(_, number)| *number != UNFINISHED);
    for (incarnation, _) in sets {
        remove(link, group, incarnation).await?;
    }
    match current {
        Some((incarnation, number)) => clean(link, group, incarnation, number).await,
        None => {
            let set = RowSet::new(1);
            note(link, group, set.incarnation, set.number).await?;
            Ok(set)
        }
    }
}

/// Removes what was never committed; later versions begin above it, where its removal does not reach.
async fn clean(
    link: &Link,
    group: GroupId,
    incarnation: Uuid,
    number: i64,
) -> Result<RowSet, MirrorError> {
    let head = head_key();
    let partition = Partition::of(incarnation, group, &head);
    let newest = link
        .newest(partition, &head.encode(), i64::MAX, &[])
        .await?;
    let committed = newest.map_or(0, |(version, _)| version);
    let mut orphans = Vec::new();
    for partition in partitions(link, group, incarnation).await? {
        for (key, version) in link.versions(partition).await? {
            if version > committed {
                orphans.push((partition, key, version));
            }
        }
    }
    let newest = orphans.iter().map(|(_, _, version)| *version).max();
    let newest = newest.unwrap_or(committed);
    for (partition, key, _) in &orphans {
        link.remove_above(*partition, key, committed, newest)
            .await?;
    }
    Ok(RowSet {
        incarnation,
        head: Mutex::new(Head {
            committed,
            next: Some(newest + 1),
        }),
        ..RowSet::new(number)
    })
}

async fn partitions(
    link: &Link,
    group: GroupId,
    incarnation: Uuid,
) -> Result<Vec<Partition>, MirrorError> {
    let mut partitions = Vec::new();
    // Site 0 stands for the group itself, too.
    for site in link.sites(incarnation, group).await? {
        for bucket in link.buckets(incarnation, group, site).await? {
            partitions.push(Partition::in_site(incarnation, group, site, bucket));
        }
    }
    Ok(partitions)
}

async fn remove(link: &Link, group: GroupId, incarnation: Uuid) -> Result<(), MirrorError> {
    for partition in partitions(link, group, incarnation).await? {
        link.remove_partition(partition, i64::MAX).await?;
        let values = (
            incarnation,
            partition.group,
            partition.site,
            partition.generation,
        );
        link.run(|at| &at.remove_buckets, values).await?;
    }
    let values = (incarnation, group.0 as i32);
    link.run(|at| &at.remove_sites, values).await?;
    let values = (link.cluster, group.0 as i32, incarnation);
    link.run(|at| &at.remove_row_set, values).await
}

/// The buckets of a site that hold rows of the site, and whether the group's own rows are listed under it.
pub(super) async fn site_buckets(
    link: &Link,
    incarnation: Uuid,
    group: GroupId,
    site: SiteGeneration,
) -> Result<Vec<i64>, MirrorError> {
    let mut buckets = link.buckets(incarnation, group, site).await?;
    buckets.retain(|bucket| *bucket != GROUP_BUCKET);
    Ok(buckets)
}

/// The kinds of site rows, by their first byte.
pub(super) const SITE_KINDS: Range<u8> = 2..32;

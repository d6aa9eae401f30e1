//! The side that writes checkpoints behind the log.

use std::{
    collections::{BTreeSet, HashSet},
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt};
use parking_lot::Mutex;
use ringtail_proto::{GroupId, LogIndex, SiteGeneration, SiteRow};
use uuid::Uuid;

use super::{
    Mirror, MirrorError, SiteWrite, cells,
    intents::Intents,
    link::Link,
    partition::Partition,
    pruner::{Pruner, Superseded},
    table::Cell,
};
use crate::{GroupKey, VALUE_BYTES_MAX};

/// Partitions that are known to be listed; beyond it they are listed again, which harms nothing.
const LISTED_MAX: usize = 1 << 17;
/// Rows whose superseded versions go in one call.
const PRUNED_ROWS_MAX: usize = 1_000;

/// Writes what checkpoints changed. All writers of a mirror share what they remember.
#[derive(Clone)]
pub struct MirrorWriter {
    mirror: Mirror,
    memory: Arc<Memory>,
}

/// What writers remember: if it is lost, some things are done twice and some superseded versions stay longer.
pub(super) struct Memory {
    listed: Mutex<HashSet<Partition>>,
    pruner: Mutex<Pruner>,
}

impl Memory {
    pub(super) fn new(grace: Duration, prune_rows_max: usize) -> Self {
        Self {
            listed: Mutex::default(),
            pruner: Mutex::new(Pruner::new(grace, prune_rows_max)),
        }
    }
}

impl MirrorWriter {
    pub(super) const fn new(mirror: Mirror, memory: Arc<Memory>) -> Self {
        Self { mirror, memory }
    }

    /// One that keeps all versions and remembers none.
    pub(super) fn keeping_all(mirror: Mirror) -> Self {
        Self::new(mirror, Arc::new(Memory::new(Duration::MAX, 0)))
    }

    /// Writes the rows of a site that a checkpoint at `version` changed, none for a removed one. The site row must be
    /// among them; it is written when all others are acknowledged, so readers see all or nothing of it.
    ///
    /// Writing the same again, or a version below the newest, changes nothing that a reader sees. Between the newest
    /// version that was acknowledged and this one no change may be left out.
    ///
    /// # Errors
    /// [`MirrorError::BadWrite`] before anything is sent. After [`MirrorError::is_outage`] the write may be made again.
    pub async fn write(
        &self,
        group: GroupId,
        site: SiteGeneration,
        version: LogIndex,
        rows: Vec<(GroupKey, Option<Bytes>)>,
    ) -> Result<(), MirrorError> {
        let site_key = GroupKey::Site(site, SiteRow::Site);
        if !rows.iter().any(|(key, _)| *key == site_key) {
            return Err(bad("it has no site row".to_owned()));
        }
        check_owner(site, &rows)?;
        let link = self.mirror.link();
        let number = checked(version)?;
        let intents = Intents::of(link.cluster, group, site);
        // A site row alone is there or not.
        let is_compound = rows.len() > 1;
        if is_compound {
            intents.begin(link, number).await?;
        }
        self.commit_at(link.cluster, group, version, rows, &site_key)
            .await?;
        if is_compound && intents.end(link, number).await.is_err() {
            // The site row tells as well that it is finished.
            metrics::counter!("ringtail_mirror_intents_left_total").increment(1);
        }
        Ok(())
    }

    /// Begins to write a site at `version` piece by piece: what is too much to be held at once. For the version and for
    /// what may be left out the same holds as for [`Self::write`].
    ///
    /// # Errors
    /// [`MirrorError::BadWrite`] for what is no version.
    pub fn begin(
        &self,
        group: GroupId,
        site: SiteGeneration,
        version: LogIndex,
    ) -> Result<SiteWrite, MirrorError> {
        Ok(SiteWrite::new(
            self.clone(),
            group,
            site,
            (version, checked(version)?),
        ))
    }

    /// Writes rows of the group itself, such as its floor: all at `version`, in one batch of one partition.
    ///
    /// # Errors
    /// As for [`Self::write`].
    pub async fn write_group(
        &self,
        group: GroupId,
        version: LogIndex,
        rows: Vec<(GroupKey, Option<Bytes>)>,
    ) -> Result<(), MirrorError> {
        if let Some((key, _)) = rows
            .iter()
            .find(|(key, _)| matches!(key, GroupKey::Site(..)))
        {
            return Err(bad(format!("{key:?} is a row of a site")));
        }
        let incarnation = self.mirror.link().cluster;
        let cells = cells_of(incarnation, group, checked(version)?, &rows)?;
        self.mirror.link().put_all(cells).await?;
        self.supersede(superseded(incarnation, group, version, &rows));
        Ok(())
    }

    /// Removes a site, all its rows and versions up to one: unreadable on return, gone from the servers' disks after their
    /// own grace (`gc_grace_seconds`, ten days by default) and a compaction. What is written of it later, up to that
    /// version, stays invisible. It can be repeated.
    ///
    /// # Errors
    /// When the servers do not take it; then it is to be repeated.
    pub async fn remove_site(
        &self,
        group: GroupId,
        site: SiteGeneration,
        version_max: LogIndex,
    ) -> Result<(), MirrorError> {
        let link = self.mirror.link();
        let version_max = checked(version_max)?;
        let incarnation = link.cluster;
        let buckets = link.buckets(incarnation, group, site).await?;
        // The site row first: without it there is no pin.
        for bucket in buckets.into_iter().rev() {
            let partition = Partition::in_site(incarnation, group, site, bucket);
            link.remove_partition(partition, version_max).await?;
            self.memory.listed.lock().remove(&partition);
        }
        let listed = Partition::in_site(incarnation, group, site, 0);
        let values = (incarnation, listed.group, listed.site, listed.generation);
        link.run(|at| &at.remove_buckets, values).await?;
        link.run(|at| &at.remove_site, values).await
    }

    /// Writes rows at a version, `last` after all others are acknowledged.
    pub(super) async fn commit_at(
        &self,
        incarnation: Uuid,
        group: GroupId,
        version: LogIndex,
        rows: Vec<(GroupKey, Option<Bytes>)>,
        last: &GroupKey,
    ) -> Result<(), MirrorError> {
        let cells = cells_of(incarnation, group, checked(version)?, &rows)?;
        let link = self.mirror.link();
        self.list(link, cells.iter().map(|cell| cell.partition))
            .await?;
        let last = last.encode();
        let (last, others) = cells.into_iter().partition(|cell| cell.key == last);
        link.put_all(others).await?;
        link.put_all(last).await?;
        self.supersede(superseded(incarnation, group, version, &rows));
        Ok(())
    }

    /// Writes rows of which none is to be the last.
    pub(super) async fn put(
        &self,
        group: GroupId,
        number: i64,
        rows: &[(GroupKey, Option<Bytes>)],
    ) -> Result<(), MirrorError> {
        let link = self.mirror.link();
        let cells = cells_of(link.cluster, group, number, rows)?;
        self.list(link, cells.iter().map(|cell| cell.partition))
            .await?;
        link.put_all(cells).await
    }

    pub(super) fn link(&self) -> &Link {
        self.mirror.link()
    }

    /// Lists sites and buckets where readers look for them, before anything is in them.
    async fn list(
        &self,
        link: &Link,
        partitions: impl Iterator<Item = Partition>,
    ) -> Result<(), MirrorError> {
        let new: BTreeSet<Partition> = {
            let listed = self.memory.listed.lock();
            partitions
                .filter(|partition| !listed.contains(partition))
                .collect()
        };
        futures::stream::iter(&new)
            .map(Ok)
            .try_for_each_concurrent(link.options.concurrency_max.max(1), |partition| {
                link.add_bucket(*partition)
            })
            .await?;
        let mut listed = self.memory.listed.lock();
        if listed.len() + new.len() > LISTED_MAX {
            listed.clear();
        }
        listed.extend(new);
        Ok(())
    }

    /// Older versions of these rows may go once the grace is over.
    pub(super) fn supersede(&self, superseded: impl Iterator<Item = Superseded>) {
        let mut pruner = self.memory.pruner.lock();
        let forgotten = pruner.take(superseded, Instant::now());
        metrics::gauge!("ringtail_mirror_prune_waiting_rows").set(pruner.len() as f64);
        drop(pruner);
        metrics::counter!("ringtail_mirror_prune_forgotten_rows_total").increment(forgotten as u64);
    }

    /// Removes versions that were superseded longer than the grace ago, some at a time; how many rows were done. To be
    /// called now and then, until it says 0. What a frozen writer sends of them later stays invisible.
    ///
    /// # Errors
    /// When the servers do not take it; the rows are tried again at the next call.
    pub async fn prune(&self) -> Result<usize, MirrorError> {
        let link = self.mirror.link();
        let due = {
            let mut pruner = self.memory.pruner.lock();
            pruner.due(Instant::now(), PRUNED_ROWS_MAX)
        };
        let count = due.len();
        let removed = futures::stream::iter(&due)
            .map(Ok)
            .try_for_each_concurrent(link.options.concurrency_max.max(1), async |row| {
                if let Some(intents) = Intents::beside(row.partition, &row.key) {
                    intents.end_finished(link, row.below - 1).await?;
                }
                link.remove_below(row.partition, &row.key, row.below).await
            })
            .await;
        if let Err(error) = removed {
            self.memory.pruner.lock().put_back(due, Instant::now());
            return Err(error);
        }
        metrics::counter!("ringtail_mirror_pruned_rows_total").increment(count as u64);
        Ok(count)
    }
}

/// Refuses rows of another site.
pub(super) fn check_owner(
    site: SiteGeneration,
    rows: &[(GroupKey, Option<Bytes>)],
) -> Result<(), MirrorError> {
    let of_site = |key: &GroupKey| matches!(key, GroupKey::Site(of, _) if *of == site);
    match rows.iter().find(|(key, _)| !of_site(key)) {
        Some((key, _)) => Err(bad(format!("{key:?} is no row of site {site}"))),
        None => Ok(()),
    }
}

/// Versions are timestamps of CQL, too; its smallest would be odd ones.
fn checked(version: LogIndex) -> Result<i64, MirrorError> {
    match i64::try_from(version.0) {
        Ok(version) if (1..i64::MAX).contains(&version) => Ok(version),
        _ => Err(bad(format!("{} is no version", version.0))),
    }
}

/// What rows at a version leave behind, once all of them are acknowledged.
pub(super) fn superseded(
    incarnation: Uuid,
    group: GroupId,
    version: LogIndex,
    rows: &[(GroupKey, Option<Bytes>)],
) -> impl Iterator<Item = Superseded> {
    let version = version.0 as i64;
    rows.iter().map(move |(key, value)| Superseded {
        partition: Partition::of(incarnation, group, key),
        key: key.encode(),
        // The mark of a removal goes with what it removed.
        below: version + i64::from(value.is_none()),
    })
}

fn cells_of(
    incarnation: Uuid,
    group: GroupId,
    version: i64,
    rows: &[(GroupKey, Option<Bytes>)],
) -> Result<Vec<Cell>, MirrorError> {
    let mut cells = Vec::with_capacity(rows.len());
    let mut keys = HashSet::with_capacity(rows.len());
    for (key, value) in rows {
        let bytes = value.as_ref().map_or(0, |value| value.len() as u64);
        if bytes > VALUE_BYTES_MAX {
            return Err(bad(format!("{key:?} has {bytes} bytes")));
        }
        let partition = Partition::of(incarnation, group, key);
        let key = key.encode();
        if !keys.insert(key.clone()) {
            return Err(bad("a row comes twice".to_owned()));
        }
        for (chunk, value) in (0..).zip(cells::split(value.as_ref())) {
            cells.push(Cell {
                partition,
                key: key.clone(),
                version,
                chunk,
                value,
            });
        }
    }
    Ok(cells)
}

pub(super) const fn bad(message: String) -> MirrorError {
    MirrorError::BadWrite { message }
}

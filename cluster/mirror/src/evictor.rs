//! Takes pages that the mirror has, and that are older than a node wants to keep, out of its own store.

use std::{collections::BTreeMap, ops::ControlFlow, sync::Arc, time::Duration};

use bytes::Bytes;
use futures::{StreamExt as _, TryStreamExt as _, stream};
use parking_lot::Mutex;
use ringtail_checkpoint::{
    GroupKey, GroupSnapshot, StoreError, Stub,
    cassandra::{Mirror, MirrorState, SitePin},
};
use ringtail_partition::{Partitions, SiteMachine};
use ringtail_proto::{GroupId, HourStart, RowReader as _, RowWrite, SiteGeneration, SiteRow};
use ringtail_raft::spawn_blocking;
use tokio::time::{MissedTickBehavior, interval};

use crate::MirroringError;

const DAY_MS: i64 = 24 * 3_600_000;
/// Pages of one site that are compared and given up together.
const PAGES_MAX: usize = 64;
/// Pages that are compared at once.
const AT_ONCE: usize = 8;
/// Rounds after which pages are looked for again that were written anew since.
const ROUNDS_UNTIL_ANEW: usize = 60;

/// Takes old pages out of the stores of all groups of this node, page by page: each one only after the mirror gave back the
/// same bytes. What stays behind says which bytes these are.
pub struct Evictor<M: SiteMachine> {
    partitions: Arc<Partitions<M>>,
    mirror: Mirror,
    local_days: u32,
    round_interval: Duration,
    /// Pages before these hours are done.
    done: Mutex<BTreeMap<SiteGeneration, HourStart>>,
}

impl<M: SiteMachine> Evictor<M> {
    /// Keeps the pages of so many days.
    #[must_use]
    pub fn new(
        partitions: Arc<Partitions<M>>,
        mirror: Mirror,
        local_days: u32,
        round_interval: Duration,
    ) -> Self {
        Self {
            partitions,
            mirror,
            local_days,
            round_interval,
            done: Mutex::default(),
        }
    }

    /// Rounds until it is aborted.
    pub async fn run(self: Arc<Self>) {
        let mut ticks = interval(self.round_interval);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        for round in 1_usize.. {
            ticks.tick().await;
            if round.is_multiple_of(ROUNDS_UNTIL_ANEW) {
                self.done.lock().clear();
            }
            self.run_once().await;
        }
    }

    /// One round over all groups of this node; returns how many pages it gave up.
    pub async fn run_once(&self) -> usize {
        let mut evicted = 0;
        for group in self.partitions.hosted() {
            if self.mirror.state() != MirrorState::Up {
                return evicted;
            }
            match self.evict(group).await {
                Ok(pages) => evicted += pages,
                Err(error) => {
                    tracing::debug!(%group, %error, "checkpoint: old pages stay for a while");
                }
            }
        }
        metrics::counter!("ringtail_mirror_evicted_pages_total").increment(evicted as u64);
        evicted
    }

    async fn evict(&self, group: GroupId) -> Result<usize, MirroringError> {
        let (rows, stamp) = self.partitions.rows_of(group).await?;
        let keep_from = HourStart(stamp.0.saturating_sub(i64::from(self.local_days) * DAY_MS));
        let found = {
            let done = self.done.lock().clone();
            spawn_blocking(move || old_pages(&*rows, &done, keep_from)).await
        };
        let mut evicted = 0;
        for (site, hours) in found.map_err(|_| MirroringError::Stopping)?? {
            let mut is_done = true;
            for hours in hours.chunks(PAGES_MAX) {
                match self.evict_pages(group, site, hours).await {
                    Ok(pages) => {
                        evicted += pages;
                        is_done &= pages == hours.len();
                    }
                    Err(error) if error.is_outage() => return Err(error),
                    Err(error) => {
                        tracing::debug!(%group, %site, %error, "checkpoint: old pages stay for a while");
                        is_done = false;
                    }
                }
            }
            if is_done {
                self.done.lock().insert(site, keep_from);
            }
        }
        Ok(evicted)
    }

    /// Gives up those of a site's pages that the mirror has; returns how many.
    async fn evict_pages(
        &self,
        group: GroupId,
        site: SiteGeneration,
        hours: &[HourStart],
    ) -> Result<usize, MirroringError> {
        // What an unfinished write left is no page that a reader of the site finds.
        let Some(pin) = self.mirror.reader().pin(group, site).await? else {
            return Ok(0);
        };
        let (reader, revision) = self.partitions.begin_rewrite(site).await?;
        let reader = reader.unresolved();
        let hours = hours.to_vec();
        let pages = spawn_blocking(move || {
            let page = |hour: HourStart| {
                let page = reader.get(SiteRow::Page(hour));
                page.map(|page| page.map(|page| (SiteRow::Page(hour), page)))
            };
            let pages: Result<Vec<_>, _> = hours.into_iter().map(page).collect();
            pages
        });
        let pages = pages.await.map_err(|_| MirroringError::Stopping)?;
        let pages = pages.map_err(|error| StoreError::Corrupt {
            message: error.message,
        })?;
        let pages = pages.into_iter().flatten();
        let compared: Vec<Option<RowWrite>> = stream::iter(pages)
            .map(|(row, page)| self.stub_of(&pin, row, page))
            .buffer_unordered(AT_ONCE)
            .try_collect()
            .await?;
        let writes: Vec<RowWrite> = compared.into_iter().flatten().collect();
        let count = writes.len();
        if count == 0 {
            return Ok(0);
        }
        let is_written = self
            .partitions
            .finish_rewrite(site, revision, writes)
            .await?;
        Ok(if is_written { count } else { 0 })
    }

    /// What takes the place of a page, if the mirror gives back the same bytes.
    async fn stub_of(
        &self,
        pin: &SitePin,
        row: SiteRow,
        page: Bytes,
    ) -> Result<Option<RowWrite>, MirroringError> {
        if Stub::decode(&page).is_some() {
            return Ok(None);
        }
        let mirrored = self.mirror.reader().read_pinned(pin, row).await?;
        Ok((mirrored.as_ref() == Some(&page)).then(|| RowWrite {
            row,
            value: Some(Stub::of(&page).encode()),
        }))
    }
}

/// The hours before a bound whose pages are in the rows, by site, without those that are done.
fn old_pages(
    rows: &dyn GroupSnapshot,
    done: &BTreeMap<SiteGeneration, HourStart>,
    keep_from: HourStart,
) -> Result<Vec<(SiteGeneration, Vec<HourStart>)>, StoreError> {
    let mut sites = Vec::new();
    let first = GroupKey::Site(SiteGeneration::MIN, SiteRow::Site);
    let last = GroupKey::Site(SiteGeneration::MAX, SiteRow::Site);
    rows.range(&first, &last, &mut |key, _| {
        if let GroupKey::Site(site, _) = key {
            sites.push((site, Vec::new()));
        }
        ControlFlow::Continue(())
    })?;
    for (site, hours) in &mut sites {
        let from = done.get(site).copied().unwrap_or(HourStart(i64::MIN));
        let Some(to) = keep_from.0.checked_sub(1).filter(|to| *to > from.0) else {
            continue;
        };
        let first = GroupKey::Site(*site, SiteRow::Page(from));
        let last = GroupKey::Site(*site, SiteRow::Page(HourStart(to)));
        rows.range(&first, &last, &mut |key, value| {
            if let GroupKey::Site(_, SiteRow::Page(hour)) = key
                && Stub::decode(&value).is_none()
            {
                hours.push(hour);
            }
            ControlFlow::Continue(())
        })?;
    }
    sites.retain(|(_, hours)| !hours.is_empty());
    Ok(sites)
}

//! Derives later generations of sites from archive and log.

use std::{ops::RangeInclusive, sync::Arc, time::Duration};

use ringtail_archive::{Archive, Replay, ReplayItem, Selection};
use ringtail_partition::{ApplyAt, GenerationBuild, Partitions, SiteChange, SiteMachine, Unbuilt};
use ringtail_proto::{GroupId, LogIndex};
use tokio::time::{MissedTickBehavior, interval};

use crate::{HistoryError, HistoryOptions};

/// Builds what this node's replicas lack.
pub struct Builder<M: SiteMachine> {
    partitions: Arc<Partitions<M>>,
    archive: Arc<Archive>,
    options: HistoryOptions,
}

impl<M: SiteMachine> Builder<M> {
    /// Over the partitions of this node.
    #[must_use]
    pub const fn new(
        partitions: Arc<Partitions<M>>,
        archive: Arc<Archive>,
        options: HistoryOptions,
    ) -> Self {
        Self {
            partitions,
            archive,
            options,
        }
    }

    /// Rounds until it is aborted.
    pub async fn run(self: Arc<Self>) {
        let mut ticks = interval(Duration::from_millis(self.options.round_interval_ms.max(1)));
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            self.run_once().await;
        }
    }

    /// Builds, one after the other, all generations that replicas here lack; returns how many are complete now. One that
    /// fails goes on from its last checkpoint in the next round.
    pub async fn run_once(&self) -> usize {
        let mut built = 0;
        for group in self.partitions.hosted() {
            for unbuilt in self.partitions.unbuilt(group).unwrap_or_default() {
                let site = unbuilt.site;
                match self.build(group, &unbuilt).await {
                    Ok(()) => {
                        built += 1;
                        tracing::info!(%group, %site, "reprocess: a generation is complete");
                    }
                    Err(error) => {
                        metrics::counter!("ringtail_reprocess_failures_total").increment(1);
                        tracing::warn!(%group, %site, %error, "reprocess: a generation waits");
                    }
                }
            }
        }
        built
    }

    async fn build(&self, group: GroupId, unbuilt: &Unbuilt) -> Result<(), HistoryError> {
        let mut build = self.partitions.build(unbuilt.site).await?;
        loop {
            let state = self.partitions.archive_state(group)?;
            let sealed = state.sealed.unwrap_or_default();
            let next = LogIndex(build.applied().0 + 1);
            if next > sealed || self.replay(&mut build, next..=sealed).await? {
                let taken = sealed.max(build.applied());
                return Ok(build.finish(taken).await?);
            }
        }
    }

    /// Applies what the archive holds of these entries; false when the build went back to its last checkpoint.
    async fn replay(
        &self,
        build: &mut GenerationBuild<M>,
        indexes: RangeInclusive<LogIndex>,
    ) -> Result<bool, HistoryError> {
        let site = build.site().site;
        let objects = self
            .partitions
            .archive_objects(self.partitions.slots().group_of(site))?;
        let selection = Selection::of_site(site, indexes);
        let mut replay = Replay::new(Arc::clone(&self.archive), &objects, selection)?;
        let mut entry: Vec<ReplayItem> = Vec::new();
        let mut events = 0;
        loop {
            let item = replay.next().await?;
            let index = item.as_ref().map(|item| item.entry().index);
            let is_next = entry
                .first()
                .is_some_and(|first| Some(first.entry().index) != index);
            if is_next {
                events += entry.iter().map(events_of).sum::<usize>();
                if !apply(build, &entry).await? {
                    return Ok(false);
                }
                entry.clear();
                if events >= self.options.build_events_max {
                    metrics::counter!("ringtail_reprocess_events_total").increment(events as u64);
                    events = 0;
                    build.checkpoint().await?;
                }
            }
            match item {
                Some(item) => entry.push(item),
                None => break,
            }
        }
        metrics::counter!("ringtail_reprocess_events_total").increment(events as u64);
        build.checkpoint().await?;
        Ok(true)
    }
}

fn events_of(item: &ReplayItem) -> usize {
    match item {
        ReplayItem::Events(slice) => slice.codes.len(),
        ReplayItem::Command { .. } => 0,
    }
}

/// Applies all that one entry says to the site.
async fn apply<M: SiteMachine>(
    build: &mut GenerationBuild<M>,
    entry: &[ReplayItem],
) -> Result<bool, HistoryError> {
    let Some(first) = entry.first().map(ReplayItem::entry) else {
        return Ok(true);
    };
    let at = ApplyAt {
        index: first.index,
        stamp: first.stamp,
    };
    let changes: Vec<SiteChange<'_>> = entry
        .iter()
        .filter_map(|item| match item {
            ReplayItem::Events(slice) => slice.events().map(|events| SiteChange::Events {
                batch: &slice.batch,
                events,
            }),
            ReplayItem::Command { command, .. } => Some(SiteChange::Command(command)),
        })
        .collect();
    Ok(build.apply(at, &changes).await?)
}

//! Derives later generations of sites from archive and log.

use std::{collections::BTreeMap, ops::RangeInclusive, sync::Arc, time::Duration};

use parking_lot::Mutex;
use ringtail_archive::{Archive, Replay, ReplayItem, Selection};
use ringtail_partition::{
    ApplyAt, GenerationBuild, Partitions, PastSlice, SiteChange, SiteMachine, Unbuilt,
};
use ringtail_proto::{GroupId, LogIndex, SiteGeneration};
use tokio::time::{MissedTickBehavior, interval};

use crate::{HistoryError, HistoryOptions, Wishes};

/// Events that are applied at a time, but at least one entry.
const STEP_EVENTS: usize = 4_096;

/// Builds what this node's replicas lack.
pub struct Builder<M: SiteMachine> {
    partitions: Arc<Partitions<M>>,
    archive: Arc<Archive>,
    wishes: Arc<dyn Wishes>,
    options: HistoryOptions,
    /// How far builds are that were begun and are not complete.
    progress: Mutex<BTreeMap<SiteGeneration, BuildProgress>>,
}

/// How far a build is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BuildProgress {
    /// The last entry of the site that was applied, or up to where there is none left.
    pub at: LogIndex,
    /// Events that this process has applied for it.
    pub events: u64,
}

/// How a run over the archive ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Run {
    /// All of it was applied.
    Through,
    /// The build is back at its last checkpoint.
    SetBack,
    /// Nobody wants it to go on for now; what is built is written.
    Paused,
}

impl<M: SiteMachine> Builder<M> {
    /// Over the partitions of this node.
    #[must_use]
    pub fn new(
        partitions: Arc<Partitions<M>>,
        archive: Arc<Archive>,
        wishes: Arc<dyn Wishes>,
        options: HistoryOptions,
    ) -> Self {
        Self {
            partitions,
            archive,
            wishes,
            options,
            progress: Mutex::default(),
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

    /// How far a build is; none when it was not begun by this process or is not one any more.
    #[must_use]
    pub fn progress(&self, site: SiteGeneration) -> Option<BuildProgress> {
        self.progress.lock().get(&site).copied()
    }

    /// Builds, one after the other, all generations that replicas here lack; returns how many are complete now. One that
    /// fails goes on from its last checkpoint in the next round.
    pub async fn run_once(&self) -> usize {
        let mut built = 0;
        let mut unbuilt_now = Vec::new();
        for group in self.partitions.hosted() {
            for unbuilt in self.partitions.unbuilt(group).unwrap_or_default() {
                let site = unbuilt.site;
                unbuilt_now.push(site);
                if self.wishes.is_paused(site) {
                    continue;
                }
                match self.build(group, &unbuilt).await {
                    Ok(true) => {
                        built += 1;
                        tracing::info!(%group, %site, "reprocess: a generation is complete");
                    }
                    Ok(false) => tracing::info!(%group, %site, "reprocess: paused"),
                    Err(error) => {
                        metrics::counter!("ringtail_reprocess_failures_total").increment(1);
                        tracing::warn!(%group, %site, %error, "reprocess: a generation waits");
                    }
                }
            }
        }
        let mut progress = self.progress.lock();
        progress.retain(|site, _| unbuilt_now.contains(site));
        built
    }

    /// True when the generation is complete, false when it is paused.
    async fn build(&self, group: GroupId, unbuilt: &Unbuilt) -> Result<bool, HistoryError> {
        let mut build = self.partitions.build(unbuilt.site).await?;
        loop {
            let state = self.partitions.archive_state(group)?;
            let sealed = state.sealed.unwrap_or_default();
            let next = LogIndex(build.applied().0 + 1);
            let run = match next > sealed {
                true => Run::Through,
                false => self.replay(&mut build, next..=sealed).await?,
            };
            match run {
                Run::Through => {
                    let taken = sealed.max(build.applied());
                    self.progress.lock().entry(unbuilt.site).or_default().at = taken;
                    build.finish(taken).await?;
                    return Ok(true);
                }
                Run::SetBack => {}
                Run::Paused => return Ok(false),
            }
        }
    }

    /// Applies what the archive holds of these entries.
    async fn replay(
        &self,
        build: &mut GenerationBuild<M>,
        indexes: RangeInclusive<LogIndex>,
    ) -> Result<Run, HistoryError> {
        let site = build.site().site;
        let group = self.partitions.slots().group_of(site);
        let objects = self.partitions.archive_objects(group)?;
        let selection = Selection::of_site(site, indexes);
        let mut replay = Replay::new(Arc::clone(&self.archive), &objects, selection)?;
        let mut step = Step::default();
        let mut unwritten = 0;
        loop {
            let item = replay.next().await?;
            let is_end = item.is_none();
            if is_end || item.as_ref().is_some_and(|item| step.is_full_before(item)) {
                let events = step.events;
                if !self.apply(build, std::mem::take(&mut step)).await? {
                    return Ok(Run::SetBack);
                }
                unwritten += events;
                let is_paused = self.wishes.is_paused(build.site());
                if is_end || is_paused || unwritten >= self.options.build_events_max {
                    build.checkpoint().await?;
                    unwritten = 0;
                }
                if is_paused {
                    return Ok(Run::Paused);
                }
            }
            match item {
                Some(item) => step.add(item),
                None => return Ok(Run::Through),
            }
        }
    }

    async fn apply(
        &self,
        build: &mut GenerationBuild<M>,
        step: Step,
    ) -> Result<bool, HistoryError> {
        let events = step.events as u64;
        let is_applied = build.apply(step.slices).await?;
        metrics::counter!("ringtail_reprocess_events_total").increment(events);
        let mut progress = self.progress.lock();
        let progress = progress.entry(build.site()).or_default();
        progress.at = build.applied();
        progress.events += events;
        Ok(is_applied)
    }
}

/// What is applied at a time: whole entries.
#[derive(Default)]
struct Step {
    slices: Vec<Archived>,
    events: usize,
}

impl Step {
    /// Another entry begins, and there is enough without it.
    fn is_full_before(&self, item: &ReplayItem) -> bool {
        let last = self.slices.last();
        let is_next = last.is_some_and(|Archived(last)| last.entry().index != item.entry().index);
        is_next && self.events >= STEP_EVENTS
    }

    fn add(&mut self, item: ReplayItem) {
        if let ReplayItem::Events(slice) = &item {
            self.events += slice.codes.len();
        }
        self.slices.push(Archived(item));
    }
}

/// A slice that the archive held.
struct Archived(ReplayItem);

impl PastSlice for Archived {
    fn at(&self) -> ApplyAt {
        let entry = self.0.entry();
        ApplyAt {
            index: entry.index,
            stamp: entry.stamp,
        }
    }

    fn change(&self) -> Option<SiteChange<'_>> {
        match &self.0 {
            ReplayItem::Events(slice) => slice.events().map(|events| SiteChange::Events {
                batch: &slice.batch,
                events,
            }),
            ReplayItem::Command { command, .. } => Some(SiteChange::Command(command)),
        }
    }
}

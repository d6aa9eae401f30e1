//! Carries what was decided about generations into the logs of the groups that this node leads.

use std::{fmt, sync::Arc, time::Duration};

use futures::{StreamExt as _, stream};
use ringtail_partition::{Partitions, SiteGenerations, SiteMachine};
use ringtail_proto::{
    Generation, SiteId,
    stored::{GenerationBegin, GenerationCommand, generation_command::Change},
};
use tokio::time::{MissedTickBehavior, interval, timeout};

use crate::{HistoryError, HistoryOptions, SiteWish, WantedGeneration, Wishes};

/// A change that is not applied by then is given up; whether it holds shows in the next round.
const CHANGE_WAIT_MAX: Duration = Duration::from_secs(30);
/// Sites whose changes are on their way at once.
const SITES_AT_ONCE: usize = 16;

/// Sees to it that the logs of the groups led here name the generations that are wanted, and no others.
pub struct GenerationKeeper<M: SiteMachine> {
    partitions: Arc<Partitions<M>>,
    wishes: Arc<dyn Wishes>,
    options: HistoryOptions,
}

impl<M: SiteMachine> GenerationKeeper<M> {
    /// Over the partitions of this node.
    #[must_use]
    pub fn new(
        partitions: Arc<Partitions<M>>,
        wishes: Arc<dyn Wishes>,
        options: HistoryOptions,
    ) -> Self {
        Self {
            partitions,
            wishes,
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

    /// One round over all sites of groups led here that were reprocessed; returns how many changes hold now.
    pub async fn run_once(&self) -> usize {
        let slots = self.partitions.slots();
        let leads = |site: &SiteId| self.partitions.leads(slots.group_of(*site));
        let wishes = self.wishes.sites().into_iter().filter(leads);
        let wishes: Vec<SiteWish> = wishes.filter_map(|site| self.wishes.of(site)).collect();
        let changed = stream::iter(wishes).map(|wish| async move {
            let site = wish.site;
            self.fulfil(&wish).await.unwrap_or_else(|error| {
                metrics::counter!("ringtail_reprocess_failures_total").increment(1);
                tracing::warn!(%site, %error, "reprocess: generations could not be changed");
                0
            })
        });
        let changed = changed.buffer_unordered(SITES_AT_ONCE);
        changed.fold(0, async |sum, changed| sum + changed).await
    }

    async fn fulfil(&self, wish: &SiteWish) -> Result<usize, HistoryError> {
        let group = self.partitions.slots().group_of(wish.site);
        let plan = GenerationPlan::new(wish, &self.partitions.generations(wish.site)?);
        let mut changes = 0;
        for change in &plan.changes {
            let command = GenerationCommand {
                site: wish.site.0,
                change: Some(change.clone()),
            };
            let changed = self.partitions.change_generation(group, command);
            let changed = timeout(CHANGE_WAIT_MAX, changed).await;
            let holds = changed.map_err(|_| HistoryError::Undecided { group })??;
            tracing::info!(site = %wish.site, %plan, holds, "reprocess: generations are changed");
            changes += usize::from(holds);
        }
        Ok(changes)
    }
}

/// What a partition's log is to be told about a site.
#[derive(Clone, Debug, Default, PartialEq)]
struct GenerationPlan {
    changes: Vec<Change>,
}

impl GenerationPlan {
    /// New ones first: a site is never without.
    fn new(wish: &SiteWish, present: &SiteGenerations) -> Self {
        let is_new = |wanted: &&WantedGeneration| wanted.generation > present.last;
        let begins = wish.wanted.iter().filter(is_new).map(|wanted| {
            Change::Begin(GenerationBegin {
                generation: wanted.generation.0,
                rules: wanted.rules.clone(),
            })
        });
        // A wish that is behind knows nothing of higher numbers.
        let is_unwanted = |live: &&Generation| {
            let mut wanted = wish.wanted.iter();
            **live <= wish.last && !wanted.any(|wanted| wanted.generation == **live)
        };
        let ends = present.live.iter().filter(is_unwanted);
        Self {
            changes: begins
                .chain(ends.map(|ended| Change::End(ended.0)))
                .collect(),
        }
    }
}

impl fmt::Display for GenerationPlan {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, change) in self.changes.iter().enumerate() {
            let between = if position == 0 { "" } else { ", " };
            match change {
                Change::Begin(begin) => write!(formatter, "{between}begin {}", begin.generation)?,
                Change::End(generation) => write!(formatter, "{between}end {generation}")?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The plan for a site whose log gave numbers up to `given` and feeds `live`.
    fn check((last, wanted): (u32, &[u32]), (given, live): (u32, &[u32]), expect: &str) {
        let wanted = wanted.iter().map(|number| WantedGeneration {
            generation: Generation(*number),
            rules: format!("rules of {number}").into(),
        });
        let wish = SiteWish {
            last: Generation(last),
            wanted: wanted.collect(),
            ..SiteWish::default()
        };
        let present = SiteGenerations {
            last: Generation(given),
            live: live.iter().copied().map(Generation).collect(),
            ..SiteGenerations::default()
        };
        let plan = GenerationPlan::new(&wish, &present);
        assert_eq!(plan.to_string(), expect);
        for change in &plan.changes {
            if let Change::Begin(begin) = change {
                assert_eq!(begin.rules, format!("rules of {}", begin.generation));
            }
        }
    }

    #[test]
    fn the_log_is_told_what_it_does_not_say_yet() {
        check((1, &[0, 1]), (0, &[0]), "begin 1");
        check((1, &[0, 1]), (1, &[0, 1]), "");
        check((1, &[1]), (1, &[0, 1]), "end 0");
        check((2, &[1, 2]), (1, &[0, 1]), "begin 2, end 0");
        check((2, &[0, 2]), (0, &[0]), "begin 2");
    }

    #[test]
    fn a_wish_that_is_behind_ends_nothing_that_it_does_not_know_and_begins_nothing_again() {
        check((0, &[0]), (1, &[0, 1]), "");
        check((1, &[0, 1]), (1, &[1]), "");
        check((1, &[0, 1]), (2, &[1, 2]), "");
    }
}

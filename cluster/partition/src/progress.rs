//! How far a partition is, and how it goes on.

use std::{collections::BTreeSet, sync::atomic::Ordering};

use bytes::Bytes;
use ringtail_proto::{LogIndex, SiteGeneration, SiteId, UnixMillis, stored::ArchiveChange};
use ringtail_raft::{Committed, LogPosition};

use crate::{
    PartitionError, SiteMachine,
    capped::CappedSince,
    feeds::{Feeds, is_complete},
    floor_row::FloorRow,
    group_history::{GroupHistory, HistoryCommand},
    memberships::Memberships,
    partition::Partition,
    positions::Positions,
    quiet::Quiet,
    unsealed::Unsealed,
};

/// How far the partition is.
#[derive(Debug, Default)]
pub(crate) struct Progress {
    pub(crate) applied: Option<LogPosition>,
    pub(crate) stamp: UnixMillis,
    pub(crate) memberships: Memberships,
    pub(crate) positions: Positions,
    pub(crate) floor: Option<FloorRow>,
    /// Set while floors wait for the archive.
    pub(crate) capped_since: Option<CappedSince>,
    /// What is replicated about the group's past.
    pub(crate) history: GroupHistory,
    /// Later generations whose rows here hold all entries that they are derived from: these are fed.
    complete: BTreeSet<SiteGeneration>,
    /// What follows from that and from the history; new after every change of either.
    pub(crate) feeds: Feeds,
    /// Generations that have ended and have no rows here.
    removed: BTreeSet<SiteGeneration>,
    /// Objects of the archive that are not known to be in reach of this node.
    pub(crate) unheld: BTreeSet<Bytes>,
    /// What the archive still needs.
    pub(crate) unsealed: Unsealed,
    /// Since when nothing was said to sites.
    pub(crate) quiet: Quiet,
    /// Set when apply failed: nothing is applied after it.
    pub(crate) failure: Option<String>,
    /// The partition leaves this node.
    pub(crate) is_closed: bool,
}

impl Progress {
    /// What the rows hold, and nothing else.
    pub(crate) fn at(
        floor: Option<FloorRow>,
        history: GroupHistory,
        complete: BTreeSet<SiteGeneration>,
    ) -> Self {
        let mut progress = Self {
            unheld: history.manifest.objects().keys().cloned().collect(),
            feeds: Feeds::new(&history.generations, &complete),
            complete,
            history,
            ..Self::default()
        };
        if let Some(floor) = floor {
            let position = floor.position;
            progress.applied = Some(position);
            progress.stamp = floor.stamp;
            progress.positions.record(position);
            if let Some(membership) = floor.membership.clone() {
                progress.memberships.record(position.index, membership);
            }
            progress.floor = Some(floor);
        }
        progress
    }
}

impl Progress {
    /// Floors wait for the archive from here on, unless they do already.
    pub(crate) fn cap(&mut self) {
        let floor = self.floor.as_ref().map(|floor| floor.position.index);
        self.capped_since
            .get_or_insert(CappedSince(floor.unwrap_or_default()));
    }

    /// What lies between the last seal and what this replica has of the log for certain.
    pub(crate) fn hole(&self) -> Option<(LogIndex, LogIndex)> {
        let sealed = self.history.manifest.sealed()?.position.index;
        let CappedSince(since) = self.capped_since?;
        (since > sealed).then_some((LogIndex(sealed.0 + 1), since))
    }

    /// What the log says about the past is another matter now.
    fn follow_history(&mut self) {
        let generations = &self.history.generations;
        let is_live_here = |site: SiteId| {
            let mut live = generations.fed(site).iter();
            live.any(|fed| {
                let generation = fed.generation();
                fed.ended.is_none()
                    && is_complete(&self.complete, SiteGeneration { site, generation })
            })
        };
        let live_here: BTreeSet<SiteId> = generations
            .later()
            .map(|(site, _)| site.site)
            .filter(|site| is_live_here(*site))
            .collect();
        self.history.forget_ended(|site| !live_here.contains(&site));
        self.feeds = Feeds::new(&self.history.generations, &self.complete);
        if let Some(sealed) = self.history.manifest.sealed() {
            let index = sealed.position.index;
            self.unsealed.forget_through(index);
            self.cap();
        }
    }

    /// A later generation holds all that it is derived from.
    pub(crate) fn note_complete(&mut self, site: SiteGeneration) {
        self.complete.insert(site);
        self.feeds = Feeds::new(&self.history.generations, &self.complete);
    }

    /// Generations that took their last entry at or below the floor and may have rows here.
    pub(crate) fn past(&self) -> Vec<SiteGeneration> {
        let floor = self.floor.as_ref().map(|floor| floor.position.index);
        let ended = self.history.generations.ended_by(floor.unwrap_or_default());
        let is_left =
            |site: &SiteGeneration| !self.removed.contains(site) && !self.feeds.contains(*site);
        ended.filter(is_left).collect()
    }

    /// A generation that has ended has no rows here any more.
    pub(crate) fn note_removed(&mut self, site: SiteGeneration) {
        self.complete.remove(&site);
        self.removed.insert(site);
    }

    /// Later generations that have begun and are not complete here.
    pub(crate) fn unbuilt(&self) -> impl Iterator<Item = (SiteGeneration, LogIndex)> {
        let later = self.history.generations.later();
        let unbuilt =
            later.filter(|(site, fed)| fed.ended.is_none() && !is_complete(&self.complete, *site));
        unbuilt.map(|(site, fed)| (site, fed.begun))
    }

    /// What the archive got has to be looked for, what it gave up is not missed.
    fn follow_objects(&mut self, change: &ArchiveChange) {
        for path in &change.removed {
            self.unheld.remove(path);
        }
        let added = change.added.iter().map(|object| object.path.clone());
        self.unheld.extend(added);
    }

    /// The first entry behind the floor of which only an object out of reach tells.
    pub(crate) fn first_unheld_above(&self, floor: LogIndex) -> Option<LogIndex> {
        let objects = self.history.manifest.objects();
        let unheld = self.unheld.iter().filter_map(|path| objects.get(path));
        let unheld = unheld.filter(|object| object.last_index > floor.0);
        let first = unheld.map(|object| object.first_index).min()?;
        Some(LogIndex(first.max(floor.0 + 1)))
    }
}

/// What a run of entries did to the partition.
#[derive(Debug, Default)]
pub(crate) struct Step {
    pub(crate) positions: Vec<LogPosition>,
    pub(crate) stamp: UnixMillis,
    pub(crate) memberships: Vec<(LogIndex, Bytes)>,
    /// Entries that say something to sites.
    pub(crate) site_entries: Vec<LogIndex>,
    /// What the last entry says about the group's past.
    pub(crate) history: Option<HistoryCommand>,
    pub(crate) log_bytes: u64,
    pub(crate) events: u64,
}

impl<M: SiteMachine> Partition<M> {
    /// Refuses entries that do not follow on what was applied: state with a gap would be wrong for good.
    pub(crate) fn check_next(&self, entries: &[Committed]) -> Result<(), PartitionError> {
        let mut applied = self.progress.lock().applied.map(|position| position.index);
        for entry in entries {
            let index = entry.position.index;
            let follows = match applied {
                Some(applied) => index.0 == applied.0 + 1,
                // A group's first entry has index 0, or 1 when nothing founded it.
                None => index.0 <= 1,
            };
            if !follows {
                return Err(PartitionError::Gap {
                    group: self.group,
                    applied,
                    index,
                });
            }
            applied = Some(index);
        }
        Ok(())
    }

    /// All sites have answered: the partition is now here. Tells whether what the last entry says about the past holds.
    pub(crate) fn advance(&self, step: Step) -> bool {
        let mut progress = self.progress.lock();
        for position in step.positions {
            progress.positions.record(position);
            progress.applied = Some(position);
        }
        progress.stamp = progress.stamp.max(step.stamp);
        for (index, membership) in step.memberships {
            progress.memberships.record(index, membership);
        }
        // A replica whose floor is below the last seal is given sealed entries again after a restart.
        let sealed = progress.history.manifest.sealed();
        let sealed = sealed.map(|row| row.position.index);
        for index in step.site_entries {
            progress.quiet.record(index);
            if sealed.is_none_or(|sealed| index > sealed) {
                progress.unsealed.record(index);
            }
        }
        let holds = match (&step.history, progress.applied) {
            (Some(command), Some(at)) => progress.history.apply(at, command),
            _ => false,
        };
        if let Some(HistoryCommand::Archive(change)) = step.history.as_ref().filter(|_| holds) {
            progress.follow_objects(change);
        }
        if holds {
            progress.follow_history();
        }
        drop(progress);
        self.counters
            .log_bytes
            .fetch_add(step.log_bytes, Ordering::Relaxed);
        self.counters
            .events
            .fetch_add(step.events, Ordering::Relaxed);
        self.seams
            .node_log_bytes
            .fetch_add(step.log_bytes, Ordering::Relaxed);
        holds
    }
}

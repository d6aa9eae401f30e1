//! What a replica tells of the generations of its sites.

use std::collections::BTreeSet;

use bytes::Bytes;
use ringtail_proto::{Generation, GroupId, LogIndex, SiteGeneration, SiteId};

use crate::{
    PartitionError, Partitions, SiteMachine, feeds::Feeds, generations::Fed, partition::Partition,
};

/// A generation that this replica has to build.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unbuilt {
    /// Which.
    pub site: SiteGeneration,
    /// Derived from the entries up to here and from those that came since.
    pub begun: LogIndex,
}

/// The generations of a site, as a replica knows them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SiteGenerations {
    /// The highest number that the partition's log ever gave.
    pub last: Generation,
    /// Those that the log says are fed.
    pub live: BTreeSet<Generation>,
    /// Those of them that this replica holds and feeds.
    pub complete: BTreeSet<Generation>,
}

impl<M: SiteMachine> Partitions<M> {
    /// The generations that this replica of a group has to build yet.
    ///
    /// # Errors
    /// When the partition is not on this node.
    pub fn unbuilt(&self, group: GroupId) -> Result<Vec<Unbuilt>, PartitionError> {
        let partition = &self.replica(group)?.partition;
        let progress = partition.progress.lock();
        let unbuilt = progress.unbuilt();
        Ok(unbuilt
            .map(|(site, begun)| Unbuilt { site, begun })
            .collect())
    }

    /// The generations of a site.
    ///
    /// # Errors
    /// When the partition is not on this node.
    pub fn generations(&self, site: SiteId) -> Result<SiteGenerations, PartitionError> {
        let group = self.slots().group_of(site);
        let partition = &self.replica(group)?.partition;
        let progress = partition.progress.lock();
        let generations = &progress.history.generations;
        let live = generations.fed(site).iter();
        let live = live.filter(|fed| fed.ended.is_none());
        Ok(SiteGenerations {
            last: generations.last(site),
            live: live.map(Fed::generation).collect(),
            complete: progress.feeds.of(site).map(|fed| fed.generation).collect(),
        })
    }
}

impl<M: SiteMachine> Partition<M> {
    /// Which generations take entries now.
    pub(crate) fn feeds(&self) -> Feeds {
        self.progress.lock().feeds.clone()
    }

    /// Refuses questions about a generation that is not fed here.
    pub(crate) fn check_fed(&self, site: SiteGeneration) -> Result<(), PartitionError> {
        match self.feeds().contains(site) {
            true => Ok(()),
            false => Err(PartitionError::NotBuilt(site)),
        }
    }

    /// The rules of a generation that has an actor; one that was forgotten since its end is fed nothing more.
    pub(crate) fn rules(&self, site: SiteGeneration) -> Bytes {
        let progress = self.progress.lock();
        let fed = progress.history.generations.get(site);
        fed.map(|fed| fed.rules.clone()).unwrap_or_default()
    }

    /// The rules of a generation that takes new entries; none of any other.
    pub(crate) fn live_rules(&self, site: SiteGeneration) -> Option<Bytes> {
        let progress = self.progress.lock();
        let fed = progress.history.generations.get(site);
        let live = fed.filter(|fed| fed.ended.is_none())?;
        Some(live.rules.clone())
    }
}

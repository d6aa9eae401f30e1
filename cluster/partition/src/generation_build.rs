//! How a later generation of a site comes to be on this replica: built from the past beside the partition, then fed.

use std::{collections::BTreeSet, sync::Arc};

use bytes::Bytes;
use ringtail_checkpoint::{GroupBatch, GroupKey, GroupSnapshot, GroupStore, StoreError};
use ringtail_proto::{Generation, GroupId, LogIndex, SiteGeneration, SiteId};
use ringtail_raft::spawn_blocking;

use crate::{
    ApplyAt, PartitionError, Partitions, SiteChange, SiteError, SiteMachine,
    entry::{Slice, slices_of},
    feeds::Feeds,
    group_history::{corrupt, each_row},
    lazy_rows::LazyRows,
    partition::Partition,
    site_actor::guard,
};

/// In front of the number of a site and of its generation, whose rows hold all that it is derived from.
const COMPLETE: &[u8] = b"complete/";
/// Entries that are still to be applied when the partition is made to wait for the end of a build.
const LAST_ENTRIES_MAX: u64 = 64;
/// Entries that a build takes from the log at a time.
const LOG_ENTRIES_MAX: u64 = 1_024;

/// A generation that this replica has to build.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unbuilt {
    /// Which.
    pub site: SiteGeneration,
    /// Derived from the entries up to here and from those that came since.
    pub begun: LogIndex,
}

/// A generation that is being built. Dropped at any time, it goes on from its last checkpoint.
pub struct GenerationBuild<M: SiteMachine> {
    partition: Arc<Partition<M>>,
    site: SiteGeneration,
    rows: Arc<dyn GroupStore>,
    /// None while a step has it, and after a step that failed.
    state: Option<Box<M::State>>,
    /// Entries that cannot be applied.
    poisoned: BTreeSet<LogIndex>,
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

    /// The generations of a site that are fed on this replica.
    ///
    /// # Errors
    /// When the partition is not on this node.
    pub fn generations(&self, site: SiteId) -> Result<Vec<Generation>, PartitionError> {
        let group = self.slots().group_of(site);
        let partition = &self.replica(group)?.partition;
        let fed = partition.feeds().of(site).into_iter();
        Ok(fed.map(|site| site.generation).collect())
    }

    /// Begins to build a generation, or goes on with it.
    ///
    /// # Errors
    /// When the partition is not on this node, or what was built already cannot be read.
    pub async fn build(&self, site: SiteGeneration) -> Result<GenerationBuild<M>, PartitionError> {
        let group = self.slots().group_of(site.site);
        let partition = self.replica(group)?.partition.clone();
        GenerationBuild::begin(partition, site).await
    }
}

impl<M: SiteMachine> GenerationBuild<M> {
    pub(crate) async fn begin(
        partition: Arc<Partition<M>>,
        site: SiteGeneration,
    ) -> Result<Self, PartitionError> {
        let mut build = Self {
            rows: partition.rows(),
            partition,
            site,
            state: None,
            poisoned: BTreeSet::new(),
        };
        build.load().await?;
        Ok(build)
    }

    /// What is built.
    #[must_use]
    pub const fn site(&self) -> SiteGeneration {
        self.site
    }

    /// The last entry of the site that is in the build; the next one to apply comes after it.
    #[must_use]
    pub fn applied(&self) -> LogIndex {
        let state = self.state.as_ref();
        state.map_or(LogIndex(0), |state| self.partition.machine.applied(state))
    }

    async fn load(&mut self) -> Result<(), PartitionError> {
        let (machine, site) = (self.partition.machine.clone(), self.site);
        let (rows, rules) = (self.rows.clone(), self.partition.rules(site));
        let loaded = self.blocking(move || {
            guard("load", || {
                machine.load(site, &rules, &LazyRows::new(&*rows, site))
            })
        });
        self.state = Some(Box::new(loaded.await?));
        Ok(())
    }

    /// Applies what one entry says to the site. Entries come in the order of the log; one that is in the build already
    /// changes nothing. False when the entry cannot be applied: then the build is back at its last checkpoint, has to be
    /// given all entries behind that again, and skips this one as every replica does.
    ///
    /// # Errors
    /// When rows cannot be read.
    pub async fn apply(
        &mut self,
        at: ApplyAt,
        changes: &[SiteChange<'_>],
    ) -> Result<bool, PartitionError> {
        if at.index <= self.applied() {
            return Ok(true);
        }
        match self.try_apply(at, changes) {
            Ok(()) => Ok(true),
            Err(error) if error.is_poison() => {
                let site = self.site;
                tracing::error!(%site, index = %at.index, %error, "reprocess: skipping a poisoned entry");
                self.poisoned.insert(at.index);
                self.load().await?;
                Ok(false)
            }
            Err(error) => {
                self.load().await?;
                Err(self.partition.site_error(self.site, error))
            }
        }
    }

    fn try_apply(&mut self, at: ApplyAt, changes: &[SiteChange<'_>]) -> Result<(), SiteError> {
        let machine = &self.partition.machine;
        let mut state = self.state.take().ok_or_else(unusable)?;
        if self.poisoned.contains(&at.index) {
            machine.skip_poisoned(&mut state, at);
        } else {
            let rows = LazyRows::new(&*self.rows, self.site);
            guard("build", || {
                for change in changes {
                    machine.apply(&mut state, at, *change, &rows)?;
                }
                Ok(())
            })?;
        }
        self.state = Some(state);
        Ok(())
    }

    /// It may have ended meanwhile.
    fn check_begun(&self) -> Result<(), PartitionError> {
        let progress = self.partition.progress.lock();
        match progress.history.generations.get(self.site) {
            Some(_) => Ok(()),
            None => Err(PartitionError::NotBuilt(self.site)),
        }
    }

    /// Writes what is built so far: one atomic batch.
    ///
    /// # Errors
    /// When the store does not take it; the build goes on from its last checkpoint then.
    pub async fn checkpoint(&mut self) -> Result<(), PartitionError> {
        self.write(GroupBatch::new()).await
    }

    async fn write(&mut self, mut batch: GroupBatch) -> Result<(), PartitionError> {
        self.check_begun()?;
        let (machine, site, rows) = (self.partition.machine.clone(), self.site, self.rows.clone());
        let mut state = self.state.take();
        let written = self.blocking(move || {
            let state_now = state.as_mut().ok_or_else(unusable)?;
            let reader = LazyRows::new(&*rows, site);
            if machine.condition(state_now).dirty_since.is_some() {
                let writes = guard("checkpoint", || machine.checkpoint(state_now, &reader))?;
                for write in writes {
                    batch.write(site, write);
                }
            }
            rows.commit(batch)?;
            Ok(state)
        });
        self.state = written.await?;
        Ok(())
    }

    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T, SiteError> + Send + 'static,
    ) -> Result<T, PartitionError> {
        let done = spawn_blocking(work).await;
        let done = done.map_err(|_| PartitionError::Stopping(self.partition.group))?;
        done.map_err(|error| self.partition.site_error(self.site, error))
    }

    /// Applies what the log has of the site in `next..=to`, and writes it.
    pub(crate) async fn take_from_log(
        &mut self,
        next: LogIndex,
        to: LogIndex,
    ) -> Result<(), PartitionError> {
        self.catch_up(next, to).await?;
        self.checkpoint().await
    }

    async fn catch_up(&mut self, first: LogIndex, to: LogIndex) -> Result<(), PartitionError> {
        let group = self.partition.group;
        let mut next = first;
        while next <= to {
            let last = to.min(LogIndex(next.0 + LOG_ENTRIES_MAX - 1));
            let entries = self.partition.read_log(next, last).await?;
            next = LogIndex(next.0 + entries.len() as u64);
            let slices = slices_of(group, self.site.site, entries)?;
            for entry in slices.chunk_by(|left, right| left.at().index == right.at().index) {
                let changes: Vec<_> = entry.iter().map(Slice::change).collect();
                let Some(at) = entry.first().map(Slice::at) else {
                    continue;
                };
                if !self.apply(at, &changes).await? {
                    // What the checkpoint lacks from before this run is in it: a run begins behind a checkpoint.
                    next = first.max(LogIndex(self.applied().0 + 1));
                    break;
                }
            }
        }
        Ok(())
    }

    /// Takes the rest from the log, beyond the last entry that was taken from elsewhere, and from then on the generation
    /// is fed by the partition.
    ///
    /// # Errors
    /// [`PartitionError::Log`] when the log does not reach back that far: the archive has more then.
    pub async fn finish(mut self, after: LogIndex) -> Result<(), PartitionError> {
        let partition = self.partition.clone();
        let applied = || {
            let applied = partition.applied().0.map(|position| position.index);
            applied.unwrap_or_default()
        };
        let mut next = LogIndex(after.0 + 1);
        while applied().0.saturating_sub(next.0) > LAST_ENTRIES_MAX {
            let to = applied();
            self.take_from_log(next, to).await?;
            next = LogIndex(to.0 + 1);
        }
        let _entrance = partition.enter().await?;
        let _applying = partition.applying.lock().await;
        self.check_begun()?;
        self.catch_up(next, applied()).await?;
        let mut batch = GroupBatch::new();
        batch.put(&complete_key(self.site), Bytes::new());
        self.write(batch).await?;
        partition.progress.lock().note_complete(self.site);
        Ok(())
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

    pub(crate) fn is_primary(&self, site: SiteGeneration) -> bool {
        let progress = self.progress.lock();
        progress.history.generations.primary(site.site) == site.generation
    }

    /// The rules of a generation.
    pub(crate) fn rules(&self, site: SiteGeneration) -> Bytes {
        let progress = self.progress.lock();
        let fed = progress.history.generations.get(site);
        fed.map(|fed| fed.rules.clone()).unwrap_or_default()
    }
}

/// Reads which later generations are complete.
pub(crate) fn complete_generations(
    rows: &dyn GroupSnapshot,
) -> Result<BTreeSet<SiteGeneration>, StoreError> {
    let mut complete = BTreeSet::new();
    each_row(rows, COMPLETE, &mut |key, _| {
        let site = site_of(&key).ok_or_else(|| corrupt(format!("{key:?} names no generation")))?;
        complete.insert(site);
        Ok(())
    })?;
    Ok(complete)
}

pub(crate) fn complete_key(site: SiteGeneration) -> GroupKey {
    let name = format!("{}/{}", site.site, site.generation);
    GroupKey::Group([COMPLETE, name.as_bytes()].concat().into())
}

fn site_of(key: &GroupKey) -> Option<SiteGeneration> {
    let GroupKey::Group(name) = key else {
        return None;
    };
    let name = std::str::from_utf8(name.strip_prefix(COMPLETE)?).ok()?;
    let (site, generation) = name.split_once('/')?;
    Some(SiteGeneration {
        site: SiteId(site.parse().ok()?),
        generation: Generation(generation.parse().ok()?),
    })
}

fn unusable() -> SiteError {
    SiteError::Panicked {
        stage: "build",
        message: "an earlier step failed".to_owned(),
    }
}

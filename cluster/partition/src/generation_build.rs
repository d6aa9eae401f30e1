//! How a later generation of a site comes to be on this replica: built from the past beside the partition, then fed.

use std::{collections::BTreeSet, sync::Arc};

use bytes::Bytes;
use ringtail_checkpoint::{GroupBatch, GroupStore};
use ringtail_proto::{LogIndex, SiteGeneration};
use ringtail_raft::spawn_blocking;

use crate::{
    PartitionError, Partitions, PastSlice, SiteError, SiteMachine,
    complete_generations::complete_key, entry::slices_of, lazy_rows::LazyRows,
    partition::Partition, past_slice::apply_entry, site_actor::guard,
};

/// Entries that are still to be applied when the partition is made to wait for the end of a build.
const LAST_ENTRIES_MAX: u64 = 64;
/// Entries that a build takes from the log at a time.
const LOG_ENTRIES_MAX: u64 = 1_024;

/// A generation that is being built. Dropped at any time, it goes on from its last checkpoint.
pub struct GenerationBuild<M: SiteMachine> {
    partition: Arc<Partition<M>>,
    site: SiteGeneration,
    rules: Bytes,
    rows: Arc<dyn GroupStore>,
    /// None while a step has it, and after a step that failed.
    state: Option<Box<M::State>>,
    /// Entries that cannot be applied.
    poisoned: BTreeSet<LogIndex>,
}

impl<M: SiteMachine> Partitions<M> {
    /// Begins to build a generation, or goes on with it.
    ///
    /// # Errors
    /// When the partition is not on this node or does not know the generation, or what was built already cannot be read.
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
        // A partition that was opened again may not have come to the generation's beginning yet.
        let rules = partition.live_rules(site);
        let mut build = Self {
            rules: rules.ok_or(PartitionError::NotBuilt(site))?,
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
        let (rows, rules) = (self.rows.clone(), self.rules.clone());
        let loaded = self.blocking(move || {
            guard("load", || {
                machine.load(site, &rules, &LazyRows::new(&*rows, site))
            })
        });
        self.state = Some(Box::new(loaded.await?));
        Ok(())
    }

    /// Applies slices of the site's entries, in the order of the log and all slices of an entry together; entries that
    /// are in the build already change nothing. False when an entry cannot be applied: then the build is back at its last
    /// checkpoint, has to be given all entries behind that again, and skips this one as every replica does.
    ///
    /// # Errors
    /// When rows cannot be read.
    pub async fn apply<P: PastSlice>(&mut self, slices: Vec<P>) -> Result<bool, PartitionError> {
        let (machine, site, rows) = (self.partition.machine.clone(), self.site, self.rows.clone());
        let (state, poisoned) = (self.state.take(), self.poisoned.clone());
        let applied = self.blocking(move || {
            let mut state = state.ok_or_else(unusable)?;
            let rows = LazyRows::new(&*rows, site);
            for entry in slices.chunk_by(|left, right| left.at().index == right.at().index) {
                let applied = apply_entry(&*machine, &mut state, &poisoned, entry, &rows);
                if let Err(failed) = applied {
                    return Ok(Err(failed));
                }
            }
            Ok(Ok(state))
        });
        match applied.await? {
            Ok(state) => {
                self.state = Some(state);
                Ok(true)
            }
            Err((index, error)) => {
                self.load().await?;
                if !error.is_poison() {
                    return Err(self.partition.site_error(self.site, error));
                }
                tracing::error!(%site, %index, %error, "reprocess: skipping a poisoned entry");
                self.poisoned.insert(index);
                Ok(false)
            }
        }
    }

    /// It may have ended meanwhile.
    fn check_begun(&self) -> Result<(), PartitionError> {
        let progress = self.partition.progress.lock();
        match progress.history.generations.is_live(self.site) {
            true => Ok(()),
            false => Err(PartitionError::NotBuilt(self.site)),
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
        let partition = self.partition.clone();
        let _building = partition.building.lock().await;
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
            if !self.apply(slices).await? {
                // What the checkpoint lacks from before this run is in it: a run begins behind a checkpoint.
                next = first.max(LogIndex(self.applied().0 + 1));
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
        // The log may be gone behind what was taken, as far as no site was told anything there.
        let mut next = LogIndex(partition.quiet_through(after).0 + 1);
        while applied().0.saturating_sub(next.0) > LAST_ENTRIES_MAX {
            let to = applied().min(LogIndex(next.0 + LOG_ENTRIES_MAX));
            self.take_from_log(next, to).await?;
            next = LogIndex(to.0 + 1);
        }
        // What is long is done before the partition has to wait.
        partition.persist().await?;
        let _entrance = partition.enter().await?;
        let _applying = partition.applying.lock().await;
        self.check_begun()?;
        self.catch_up(next, applied()).await?;
        let mut batch = GroupBatch::new();
        batch.put(&complete_key(self.site), Bytes::new());
        self.write(batch).await?;
        // Otherwise a power loss could leave a log that has ended the generation before and rows that lack this one.
        partition.persist().await?;
        partition.progress.lock().note_complete(self.site);
        partition.roll_ups.lock().push(self.site);
        Ok(())
    }
}

fn unusable() -> SiteError {
    SiteError::Panicked {
        stage: "build",
        message: "an earlier step failed".to_owned(),
    }
}

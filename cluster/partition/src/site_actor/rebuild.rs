//! How a site's state comes to be: loaded, moved on by slices, and after a setback rebuilt from rows and log.

use std::{
    any::Any,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::atomic::Ordering,
};

use ringtail_proto::{DropReason, LogIndex, Verdict};

use super::SiteActor;
use crate::{
    SiteError, SiteMachine, SiteMachineError, entry::Slice, lazy_rows::LazyRows, notes::is_plain,
};

/// Why slices could not be applied.
pub(super) enum Setback {
    /// Memory is behind what was applied before; these entries are needed first.
    Behind { from: LogIndex, to: LogIndex },
    /// It cannot be done.
    Failed(SiteError),
}

/// Why one run over slices ended early.
enum Stop {
    /// The state is gone; the entry was noted, and the next run skips it.
    Poisoned,
    Failed(SiteError),
}

impl<M: SiteMachine> SiteActor<M> {
    /// Applies slices, loading the state if need be. `older` are the slices between the rows and what this process had
    /// applied already; without them a state that lost them is [`Setback::Behind`].
    ///
    /// Each turn of the loop notes one more entry that cannot be applied, so it ends.
    pub(super) fn run(
        &mut self,
        older: Option<&[Slice]>,
        slices: &[Slice],
    ) -> Result<Vec<u8>, Setback> {
        loop {
            if self.state.is_none() {
                match self.load(older) {
                    Ok(()) => {}
                    Err(LoadStop::Behind { from, to }) => {
                        return Err(Setback::Behind { from, to });
                    }
                    Err(LoadStop::Run(Stop::Poisoned)) => continue,
                    Err(LoadStop::Run(Stop::Failed(error))) => {
                        return Err(Setback::Failed(error));
                    }
                }
            }
            match self.apply_slices(slices) {
                Ok(codes) => return Ok(codes),
                Err(Stop::Poisoned) => {}
                Err(Stop::Failed(error)) => return Err(Setback::Failed(error)),
            }
        }
    }

    fn load(&mut self, older: Option<&[Slice]>) -> Result<(), LoadStop> {
        let machine = self.partition.machine.clone();
        let (site, rows) = (self.site, self.rows.clone());
        let rules = self.partition.rules(site);
        let loaded = guard("load", || {
            machine.load(site, &rules, &LazyRows::new(&*rows, site))
        });
        let state = Box::new(loaded.map_err(|error| LoadStop::Run(Stop::Failed(error)))?);
        let stored = machine.applied(&state);
        let applied = self.gauge.applied();
        if stored >= applied {
            self.state = Some(state);
            return Ok(());
        }
        // Entries between the rows and the first dirty one are of other sites, and the log may have given them up.
        let dirty = self.gauge.read().dirty_since;
        let next = LogIndex(stored.0 + 1);
        let (from, to) = (dirty.map_or(next, |dirty| dirty.max(next)), applied);
        let Some(older) = older else {
            return Err(LoadStop::Behind { from, to });
        };
        self.state = Some(state);
        self.apply_slices(older).map_err(LoadStop::Run)?;
        let rebuilt = self.state.as_ref().map(|state| machine.applied(state));
        if rebuilt < Some(applied) {
            self.state = None;
            let message = "it does not lead to where the site was".to_owned();
            let error = SiteError::Log { from, to, message };
            return Err(LoadStop::Run(Stop::Failed(error)));
        }
        Ok(())
    }

    /// Applies slices to the present state, entry by entry.
    fn apply_slices(&mut self, slices: &[Slice]) -> Result<Vec<u8>, Stop> {
        let mut codes = Vec::with_capacity(slices.iter().map(Slice::codes).sum());
        for entry in slices.chunk_by(|left, right| left.at().index == right.at().index) {
            self.apply_entry(entry, &mut codes)?;
        }
        Ok(codes)
    }

    /// Applies the slices of one entry: all of them, or none and the entry is noted as poisoned.
    fn apply_entry(&mut self, slices: &[Slice], codes: &mut Vec<u8>) -> Result<(), Stop> {
        let (Some(state), Some(first)) = (&mut self.state, slices.first()) else {
            return Ok(());
        };
        let machine = &self.partition.machine;
        let at = first.at();
        let count: usize = slices.iter().map(Slice::codes).sum();
        if machine.applied(state) >= at.index {
            // The rows hold the entry already. Nobody waits for its verdicts: the process that took it has ended.
            codes.extend(std::iter::repeat_n(Verdict::Accepted.code(), count));
            return Ok(());
        }
        if self.poisoned.contains(&at.index) {
            machine.skip_poisoned(state, at);
            let code = Verdict::Dropped(DropReason::Poisoned).code();
            codes.extend(std::iter::repeat_n(code, count));
            self.note_verdicts(slices, codes);
            return Ok(());
        }
        let rows = LazyRows::new(&*self.rows, self.site);
        for slice in slices {
            let outcome = catch_unwind(AssertUnwindSafe(|| {
                machine.apply(state, at, slice.change(), &rows)
            }));
            let message = match outcome {
                Ok(Ok(verdicts)) if verdicts.len() == slice.events() => {
                    codes.extend(verdicts.iter().map(|verdict| verdict.code()));
                    if slice.is_command() {
                        codes.push(Verdict::Accepted.code());
                    }
                    continue;
                }
                Ok(Ok(verdicts)) => {
                    let error = SiteError::Verdicts {
                        index: at.index,
                        found: verdicts.len(),
                        expected: slice.events(),
                    };
                    self.state = None;
                    return Err(Stop::Failed(error));
                }
                Ok(Err(SiteMachineError::Poisoned { message })) => message,
                Ok(Err(error)) => {
                    // The state may hold half of the entry.
                    self.state = None;
                    return Err(Stop::Failed(error.into()));
                }
                Err(panic) => panic_message(&*panic),
            };
            self.note_poisoned(at.index, &message);
            return Err(Stop::Poisoned);
        }
        self.note_verdicts(slices, codes);
        Ok(())
    }

    /// Keeps what was said about the slices of one entry, whose codes are the last ones.
    fn note_verdicts(&mut self, slices: &[Slice], codes: &[u8]) {
        let count: usize = slices.iter().map(Slice::codes).sum();
        let (_, said) = codes.split_at(codes.len().saturating_sub(count));
        let Some(at) = slices.first().map(Slice::at) else {
            return;
        };
        let is_telling = !is_plain(said) || !self.verdicts.is_empty();
        if !is_telling || !self.partition.feeds().is_primary(self.site, at.index) {
            return;
        }
        let mut end = codes.len();
        for slice in slices.iter().rev() {
            let start = end.saturating_sub(slice.codes());
            if let Some(codes) = codes.get(start..end)
                && !slice.is_command()
            {
                let position = slice.position() as u32;
                self.verdicts.note(slice.at().index, position, codes);
            }
            end = start;
        }
    }

    fn note_poisoned(&mut self, index: LogIndex, message: &str) {
        let (site, group) = (self.site, self.partition.group);
        tracing::error!(%group, %site, %index, message, "aggregate: skipping a poisoned entry");
        metrics::counter!("ringtail_aggregate_poisoned_entries_total").increment(1);
        self.partition
            .counters
            .poisoned
            .fetch_add(1, Ordering::Relaxed);
        self.state = None;
        self.poisoned.insert(index);
    }
}

enum LoadStop {
    Behind { from: LogIndex, to: LogIndex },
    Run(Stop),
}

/// Runs a step of the machine outside of apply; a panic there is an error that does not go away by skipping.
pub(crate) fn guard<T>(
    stage: &'static str,
    step: impl FnOnce() -> Result<T, SiteMachineError>,
) -> Result<T, SiteError> {
    match catch_unwind(AssertUnwindSafe(step)) {
        Ok(result) => Ok(result?),
        Err(panic) => Err(SiteError::Panicked {
            stage,
            message: panic_message(&*panic),
        }),
    }
}

fn panic_message(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(ToString::to_string);
    text.or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "panic without a text".to_owned())
}

//! Entries of the past as a build takes them.

use std::collections::BTreeSet;

use ringtail_proto::LogIndex;

use crate::{
    ApplyAt, SiteChange, SiteError, SiteMachine, entry::Slice, lazy_rows::LazyRows,
    site_actor::guard,
};

/// A part of an entry that says something to the site of a build.
pub trait PastSlice: Send + 'static {
    /// Where its entry stands.
    fn at(&self) -> ApplyAt;

    /// What it says; none when it says nothing.
    fn change(&self) -> Option<SiteChange<'_>>;
}

impl PastSlice for Slice {
    fn at(&self) -> ApplyAt {
        Self::at(self)
    }

    fn change(&self) -> Option<SiteChange<'_>> {
        Some(Self::change(self))
    }
}

/// Applies an entry that is not in the state yet; the state is not to be used after an error.
pub(crate) fn apply_entry<M: SiteMachine>(
    machine: &M,
    state: &mut M::State,
    poisoned: &BTreeSet<LogIndex>,
    slices: &[impl PastSlice],
    rows: &LazyRows<'_>,
) -> Result<(), (LogIndex, SiteError)> {
    let Some(at) = slices.first().map(PastSlice::at) else {
        return Ok(());
    };
    if at.index <= machine.applied(state) {
        return Ok(());
    }
    if poisoned.contains(&at.index) {
        machine.skip_poisoned(state, at);
        return Ok(());
    }
    let applied = guard("build", || {
        for change in slices.iter().filter_map(PastSlice::change) {
            machine.apply(state, at, change, rows)?;
        }
        Ok(())
    });
    applied.map_err(|error| (at.index, error))
}

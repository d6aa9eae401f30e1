//! A site's state under the rules of its generation.

use std::sync::Arc;

use ringtail_proto::{
    LogIndex, RowReader, RowWrite, SiteId, UnixMillis, Verdict,
    stored::{EventBatch, SiteCommand, SiteEvents, site_command::Change},
};

use super::Rules;
use crate::{SiteState, StateError};

/// A site's state under the rules of its generation: the only way to alter the state leads through the rules.
///
/// Without rules it is the state alone.
#[derive(Clone, Debug)]
pub struct RuledState {
    rules: Option<Arc<Rules>>,
    state: SiteState,
}

impl RuledState {
    /// A site never seen.
    #[must_use]
    pub fn new(site: SiteId, rules: Option<Arc<Rules>>) -> Self {
        let state = match &rules {
            None => SiteState::new(site),
            Some(rules) => SiteState::with_settings(site, rules.initial_settings()),
        };
        Self { rules, state }
    }

    /// The state that the rows of a generation hold; absent rows are a site never seen. The rules have to be those under
    /// which the rows came about.
    ///
    /// # Errors
    /// When a row cannot be read or understood.
    pub fn load(
        site: SiteId,
        rules: Option<Arc<Rules>>,
        rows: &dyn RowReader,
    ) -> Result<Self, StateError> {
        let state = SiteState::load(site, rows)?;
        match state.index() == LogIndex(0) {
            true => Ok(Self::new(site, rules)),
            false => Ok(Self { rules, state }),
        }
    }

    /// The rules.
    #[must_use]
    pub const fn rules(&self) -> Option<&Arc<Rules>> {
        self.rules.as_ref()
    }

    /// The state, to look at.
    #[must_use]
    pub const fn state(&self) -> &SiteState {
        &self.state
    }

    /// Applies the site's events of one entry: one verdict for each as it stands in the entry, in order.
    ///
    /// # Errors
    /// When a row that is needed cannot be read; the state must then be thrown away.
    pub fn apply_events(
        &mut self,
        index: LogIndex,
        stamp: UnixMillis,
        batch: &EventBatch,
        events: &SiteEvents,
        rows: &dyn RowReader,
    ) -> Result<Vec<Verdict>, StateError> {
        let Some(rules) = &self.rules else {
            return self.state.apply_events(index, stamp, batch, events, rows);
        };
        // Events without a time of their own happened at the stamp that the state will count them by.
        let stamp = stamp.max(self.state.stamp());
        let ruled = rules.events(stamp, batch, events);
        let verdicts = self.state.apply_ruled(index, stamp, &ruled, rows)?;
        Ok(ruled.verdicts(verdicts))
    }

    /// Applies a change of the site's settings or the end of an import.
    ///
    /// # Errors
    /// When a row that is needed cannot be read; the state must then be thrown away.
    pub fn apply_command(
        &mut self,
        index: LogIndex,
        stamp: UnixMillis,
        command: &SiteCommand,
        rows: &dyn RowReader,
    ) -> Result<(), StateError> {
        let (Some(rules), Some(Change::Settings(settings))) = (&self.rules, &command.change) else {
            return self.state.apply_command(index, stamp, command, rows);
        };
        let ruled = SiteCommand {
            site: command.site,
            change: Some(Change::Settings(rules.settings(settings))),
        };
        self.state.apply_command(index, stamp, &ruled, rows)
    }

    /// Moves past an entry that made apply fail.
    pub fn skip_poisoned(&mut self, index: LogIndex, stamp: UnixMillis) {
        self.state.skip_poisoned(index, stamp);
    }

    /// A planted bug: ids that were counted are forgotten.
    #[cfg(feature = "planted-bugs")]
    pub fn forget_ids(&mut self) {
        self.state.forget_ids();
    }

    /// See [`SiteState::checkpoint`].
    ///
    /// # Errors
    /// When a row that is needed cannot be read; the state must then be thrown away.
    pub fn checkpoint(&mut self, rows: &dyn RowReader) -> Result<Vec<RowWrite>, StateError> {
        self.state.checkpoint(rows)
    }
}

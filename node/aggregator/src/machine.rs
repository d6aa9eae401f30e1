//! `RuledState` behind the seam of the partitions.

use ringtail_analytics::{
    RollUpError, RowError, RuleSetError, RuledState, SiteOutline, SiteView, StateError, roll_up,
};
use ringtail_partition::{ApplyAt, SiteChange, SiteCondition, SiteMachine, SiteMachineError};
use ringtail_proto::{LogIndex, RowReader, RowWrite, SiteGeneration, SiteId, Verdict};

use crate::shared_rules::shared_rules;

/// Days that one piece of background work rolls up at most, so that it never holds a thread for long.
const ROLL_UP_DAYS_MAX: usize = 8;

/// Makes site states out of log entries.
#[derive(Clone, Copy, Debug, Default)]
pub struct Aggregator;

impl SiteMachine for Aggregator {
    type State = RuledState;
    type View = SiteView;

    fn load(
        &self,
        site: SiteGeneration,
        rules: &[u8],
        rows: &dyn RowReader,
    ) -> Result<RuledState, SiteMachineError> {
        let rules = shared_rules(rules).map_err(rules_error)?;
        RuledState::load(site.site, rules, rows).map_err(state_error)
    }

    fn applied(&self, state: &RuledState) -> LogIndex {
        state.state().index()
    }

    fn apply(
        &self,
        state: &mut RuledState,
        at: ApplyAt,
        change: SiteChange<'_>,
        rows: &dyn RowReader,
    ) -> Result<Vec<Verdict>, SiteMachineError> {
        match change {
            SiteChange::Events { batch, events } => {
                let applied = state.apply_events(at.index, at.stamp, batch, events, rows);
                applied.map_err(state_error)
            }
            SiteChange::Command(command) => {
                state
                    .apply_command(at.index, at.stamp, command, rows)
                    .map_err(state_error)?;
                Ok(Vec::new())
            }
        }
    }

    fn skip_poisoned(&self, state: &mut RuledState, at: ApplyAt) {
        state.skip_poisoned(at.index, at.stamp);
    }

    fn condition(&self, state: &RuledState) -> SiteCondition {
        SiteCondition {
            dirty_since: state.state().dirty_since(),
            pending_late: state.state().pending_late(),
            wants_checkpoint: state.state().wants_checkpoint(),
        }
    }

    fn checkpoint(
        &self,
        state: &mut RuledState,
        rows: &dyn RowReader,
    ) -> Result<Vec<RowWrite>, SiteMachineError> {
        state.checkpoint(rows).map_err(state_error)
    }

    fn view(&self, state: &RuledState) -> SiteView {
        state.state().view()
    }

    fn roll_up(
        &self,
        _site: SiteId,
        rows: &dyn RowReader,
    ) -> Result<Vec<RowWrite>, SiteMachineError> {
        let Some(outline) = SiteOutline::load(rows).map_err(state_error)? else {
            return Ok(Vec::new());
        };
        let Some(hot_from) = outline.hot_from else {
            return Ok(Vec::new());
        };
        roll_up(rows, &outline.zone, hot_from, ROLL_UP_DAYS_MAX).map_err(|error| match error {
            RollUpError::Read(error) => SiteMachineError::Read(error),
            RollUpError::Page { .. } => SiteMachineError::Damaged {
                message: error.to_string(),
            },
        })
    }

    fn state_hash(
        &self,
        state: &RuledState,
        rows: &dyn RowReader,
    ) -> Result<[u8; 32], SiteMachineError> {
        state.state().state_hash(rows).map_err(state_error)
    }
}

fn rules_error(error: RuleSetError) -> SiteMachineError {
    match error {
        RuleSetError::Newer { found, known } => SiteMachineError::Newer { found, known },
        error => SiteMachineError::Damaged {
            message: format!("rules: {error}"),
        },
    }
}

fn state_error(error: StateError) -> SiteMachineError {
    match error {
        StateError::Read(error) => SiteMachineError::Read(error),
        StateError::Row {
            source: RowError::Newer { found, known },
            ..
        } => SiteMachineError::Newer { found, known },
        StateError::Row { .. } | StateError::Missing { .. } | StateError::Page(_) => {
            SiteMachineError::Damaged {
                message: error.to_string(),
            }
        }
    }
}

//! The real machine of sites, which forgets on request.

use std::ops::ControlFlow;

use bytes::Bytes;
use ringtail_aggregator::Aggregator;
use ringtail_analytics::{RuledState, SiteView};
use ringtail_partition::{ApplyAt, SiteChange, SiteCondition, SiteMachine, SiteMachineError};
use ringtail_proto::{
    LogIndex, RowReadError, RowReader, RowWrite, SiteGeneration, SiteId, SiteRow, Verdict,
};

use super::Bug;

/// The aggregator of a real node, unless a bug is planted into it.
pub(crate) struct Machine {
    honest: Aggregator,
    is_forgetful: bool,
}

impl Machine {
    pub(crate) fn new(bug: Bug) -> Self {
        Self {
            honest: Aggregator,
            is_forgetful: bug == Bug::ForgetDedup,
        }
    }

    fn rows<'a>(&self, rows: &'a dyn RowReader) -> Rows<'a> {
        Rows {
            rows,
            hides_ids: self.is_forgetful,
        }
    }
}

/// Rows of a site, maybe without those of the ids that were counted.
struct Rows<'a> {
    rows: &'a dyn RowReader,
    hides_ids: bool,
}

impl Rows<'_> {
    fn hides(&self, row: SiteRow) -> bool {
        self.hides_ids && matches!(row, SiteRow::Ids(..) | SiteRow::IdFilter(_))
    }
}

impl RowReader for Rows<'_> {
    fn get(&self, row: SiteRow) -> Result<Option<Bytes>, RowReadError> {
        match self.hides(row) {
            true => Ok(None),
            false => self.rows.get(row),
        }
    }

    fn range(
        &self,
        from: SiteRow,
        to: SiteRow,
        visit: &mut dyn FnMut(SiteRow, Bytes) -> ControlFlow<()>,
    ) -> Result<(), RowReadError> {
        self.rows
            .range(from, to, &mut |row, value| match self.hides(row) {
                true => ControlFlow::Continue(()),
                false => visit(row, value),
            })
    }
}

impl SiteMachine for Machine {
    type State = RuledState;
    type View = SiteView;

    fn load(
        &self,
        site: SiteGeneration,
        rules: &[u8],
        rows: &dyn RowReader,
    ) -> Result<RuledState, SiteMachineError> {
        self.honest.load(site, rules, &self.rows(rows))
    }

    fn applied(&self, state: &RuledState) -> LogIndex {
        self.honest.applied(state)
    }

    fn apply(
        &self,
        state: &mut RuledState,
        at: ApplyAt,
        change: SiteChange<'_>,
        rows: &dyn RowReader,
    ) -> Result<Vec<Verdict>, SiteMachineError> {
        self.honest.apply(state, at, change, &self.rows(rows))
    }

    fn skip_poisoned(&self, state: &mut RuledState, at: ApplyAt) {
        self.honest.skip_poisoned(state, at);
    }

    fn condition(&self, state: &RuledState) -> SiteCondition {
        self.honest.condition(state)
    }

    fn checkpoint(
        &self,
        state: &mut RuledState,
        rows: &dyn RowReader,
    ) -> Result<Vec<RowWrite>, SiteMachineError> {
        self.honest.checkpoint(state, &self.rows(rows))
    }

    fn view(&self, state: &RuledState) -> SiteView {
        self.honest.view(state)
    }

    fn roll_up(
        &self,
        site: SiteId,
        rows: &dyn RowReader,
    ) -> Result<Vec<RowWrite>, SiteMachineError> {
        self.honest.roll_up(site, rows)
    }

    fn state_hash(
        &self,
        state: &RuledState,
        rows: &dyn RowReader,
    ) -> Result<[u8; 32], SiteMachineError> {
        self.honest.state_hash(state, &self.rows(rows))
    }
}

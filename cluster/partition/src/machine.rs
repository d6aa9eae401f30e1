//! The seam between the cluster and what a site's state means.

use ringtail_proto::{
    LogIndex, RowReadError, RowReader, RowWrite, SiteGeneration, SiteId, UnixMillis, Verdict,
    stored::{EventBatch, SiteCommand, SiteEvents},
};

/// A site's state as a pure function of the log: everything that alters it comes in through [`Self::apply`].
///
/// No method reads a clock, draws a random number or waits for anything but the store. Whatever two replicas are given
/// alike they must turn into the same state, verdicts and rows.
pub trait SiteMachine: Send + Sync + 'static {
    /// A site's state in memory; lives in the site's actor.
    type State: Send + 'static;
    /// A handle on a state that later changes do not alter; cheap to take (copy-on-write).
    type View: Send + Sync + 'static;

    /// The state that the rows hold; absent rows are a site never seen. `rules` are those of the generation, encoded, as
    /// whoever began it gave them; empty for none.
    ///
    /// # Errors
    /// When the rows cannot be read or understood.
    fn load(
        &self,
        site: SiteGeneration,
        rules: &[u8],
        rows: &dyn RowReader,
    ) -> Result<Self::State, SiteMachineError>;

    /// The index of the last entry that the state includes; 0 for a site never seen.
    fn applied(&self, state: &Self::State) -> LogIndex;

    /// Applies one slice of one entry and answers one verdict for each of its events, in order; a command has none.
    ///
    /// Slices come in the order of the log, each once: entries at or below [`Self::applied`] were skipped by the
    /// caller. An entry may hold several slices of one site; they come one after the other with the same `at`, so an
    /// index equal to [`Self::applied`] is no repetition. `rows` shows the site's rows as of its last checkpoint.
    ///
    /// A panic is caught: the state is thrown away, rebuilt without the entry, and [`Self::skip_poisoned`] is called.
    ///
    /// # Errors
    /// [`SiteMachineError::Poisoned`] does the same as a panic. After [`SiteMachineError::Read`] the state is rebuilt and
    /// the entry comes again, for some seconds. Any other error stops the partition on this node.
    fn apply(
        &self,
        state: &mut Self::State,
        at: ApplyAt,
        change: SiteChange<'_>,
        rows: &dyn RowReader,
    ) -> Result<Vec<Verdict>, SiteMachineError>;

    /// Moves the state past an entry that cannot be applied; afterwards [`Self::applied`] is `at.index`.
    fn skip_poisoned(&self, state: &mut Self::State, at: ApplyAt);

    /// What the duties need to know; called after each change, so it must be cheap.
    fn condition(&self, state: &Self::State) -> SiteCondition;

    /// The rows that bring the store from the last checkpoint to this state, [`ringtail_proto::SiteRow::Site`] with the
    /// state's index among them. Afterwards the state counts them as written: it is clean.
    ///
    /// When the store refuses the rows, the state is thrown away and rebuilt.
    ///
    /// # Errors
    /// When rows to be merged with cannot be read or understood.
    fn checkpoint(
        &self,
        state: &mut Self::State,
        rows: &dyn RowReader,
    ) -> Result<Vec<RowWrite>, SiteMachineError>;

    /// A handle for queries. What it does not hold is in the rows as of the same moment.
    fn view(&self, state: &Self::State) -> Self::View;

    /// One piece of background work on rows that change no report: day and month pages. Empty when nothing is left to
    /// do. Runs beside the site's actor; the rows are written only if no checkpoint came between.
    ///
    /// # Errors
    /// When the rows cannot be read or understood.
    fn roll_up(
        &self,
        site: SiteId,
        rows: &dyn RowReader,
    ) -> Result<Vec<RowWrite>, SiteMachineError>;

    /// The canonical hash of the state and its rows together: equal for equal sets of accepted events, whatever was
    /// checkpointed, passivated or crashed.
    ///
    /// # Errors
    /// When the rows cannot be read or understood.
    fn state_hash(
        &self,
        state: &Self::State,
        rows: &dyn RowReader,
    ) -> Result<[u8; 32], SiteMachineError>;
}

/// Where in the log a change stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ApplyAt {
    /// The entry's index in the partition's log.
    pub index: LogIndex,
    /// The leader's stamp; never falls.
    pub stamp: UnixMillis,
}

/// One change of a site.
#[derive(Clone, Copy, Debug)]
pub enum SiteChange<'a> {
    /// Events of the site.
    Events {
        /// The batch, whose tables the events point into.
        batch: &'a EventBatch,
        /// One of the batch's slices.
        events: &'a SiteEvents,
    },
    /// A change of what apply knows about the site.
    Command(&'a SiteCommand),
}

/// What the duties need to know about a state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SiteCondition {
    /// The first applied index that the rows do not hold; none when the state is clean.
    pub dirty_since: Option<LogIndex>,
    /// Late events that wait for the next checkpoint; they wait for at most five minutes.
    pub pending_late: usize,
    /// A checkpoint is due now, whatever the clock says: the late list is full, or an import is finished.
    pub wants_checkpoint: bool,
}

/// What a machine could not do.
#[derive(Clone, Debug, thiserror::Error)]
pub enum SiteMachineError {
    /// The store did not answer.
    #[error(transparent)]
    Read(#[from] RowReadError),
    /// A row is not what was written.
    #[error("row is damaged: {message}")]
    Damaged {
        /// What was found.
        message: String,
    },
    /// A row was written by a newer binary.
    #[error("row has version {found}, this binary knows up to {known}")]
    Newer {
        /// The version found.
        found: u8,
        /// The newest version known.
        known: u8,
    },
    /// The entry cannot be applied, on any replica.
    #[error("entry cannot be applied: {message}")]
    Poisoned {
        /// Why.
        message: String,
    },
}

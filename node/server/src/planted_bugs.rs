//! Bugs that the chaos checkers must catch. `RINGTAIL_PLANTED_BUG` says which; only a build with the feature
//! `planted-bugs` knows the variable, and no such build is ever shipped.

mod skipping_store;

use std::{path::Path, sync::Arc, time::Duration};

use bytes::Bytes;
use futures::{FutureExt as _, future::BoxFuture};
use ringtail_aggregator::Aggregator;
use ringtail_analytics::{RuledState, SiteView};
use ringtail_checkpoint::CheckpointStore;
use ringtail_partition::{ApplyAt, SiteChange, SiteCondition, SiteMachine, SiteMachineError};
use ringtail_proto::{LogIndex, RowReader, RowWrite, SiteGeneration, SiteId, UnixMillis, Verdict};
use ringtail_raft::RaftOptions;
use ringtail_router::{Clock as _, Proposed, RaftLog, ReplicatedLog, RouteError, SystemClock};
use tokio::{task::JoinHandle, time::sleep};

const VARIABLE: &str = "RINGTAIL_PLANTED_BUG";
/// How long an acknowledged entry stays unwritten.
const WRITE_DELAY: Duration = Duration::from_millis(50);

fn is_planted(bug: &str) -> bool {
    std::env::var(VARIABLE).is_ok_and(|planted| planted == bug)
}

/// The log of a group. With the bug `ack_before_write` it acknowledges entries before it writes them, with
/// `ack_before_quorum` as soon as the leader alone has them.
pub(crate) fn replicated_log(log: RaftLog) -> Arc<dyn ReplicatedLog> {
    if is_planted("ack_before_write") {
        Arc::new(HastyLog(Arc::new(log)))
    } else if is_planted("ack_before_quorum") {
        Arc::new(LonelyLog(log))
    } else {
        Arc::new(log)
    }
}

/// With the bug `leader_restore` a leader that starts again leads on in its old term, whatever it has forgotten.
pub(crate) fn raft_options(options: RaftOptions) -> RaftOptions {
    if is_planted("leader_restore") {
        options.with_leader_restore()
    } else {
        options
    }
}

/// With the bug `spool_lost_on_restart` a start forgets what an earlier run spooled.
pub(crate) fn before_the_spool_opens(directory: &Path) {
    if is_planted("spool_lost_on_restart") {
        // It may not be there yet.
        let _ = std::fs::remove_dir_all(directory);
    }
}

/// With the bug `snapshot_skips_row` what a node sends to a new replica lacks a row.
pub(crate) fn store(store: Arc<dyn CheckpointStore>) -> Arc<dyn CheckpointStore> {
    if is_planted("snapshot_skips_row") {
        Arc::new(skipping_store::SkippingStore(store))
    } else {
        store
    }
}

struct LonelyLog(RaftLog);

impl ReplicatedLog for LonelyLog {
    fn propose(&self, entry: Bytes) -> BoxFuture<'static, Result<Box<dyn Proposed>, RouteError>> {
        let proposed = self.0.propose(entry);
        async move { Ok(Box::new(LonelyEntry(proposed.await?)) as Box<dyn Proposed>) }.boxed()
    }

    fn stamp(&self) -> UnixMillis {
        self.0.stamp()
    }
}

struct LonelyEntry(Box<dyn Proposed>);

impl Proposed for LonelyEntry {
    fn committed(&mut self) -> BoxFuture<'_, Result<(), RouteError>> {
        async { Ok(()) }.boxed()
    }

    fn applied(mut self: Box<Self>) -> BoxFuture<'static, Result<Bytes, RouteError>> {
        async move {
            self.0.committed().await?;
            self.0.applied().await
        }
        .boxed()
    }
}

struct HastyLog(Arc<RaftLog>);

impl ReplicatedLog for HastyLog {
    fn propose(&self, entry: Bytes) -> BoxFuture<'static, Result<Box<dyn Proposed>, RouteError>> {
        let log = Arc::clone(&self.0);
        let written = tokio::spawn(async move {
            sleep(WRITE_DELAY).await;
            log.propose(entry).await
        });
        async move { Ok(Box::new(HastyEntry(written)) as Box<dyn Proposed>) }.boxed()
    }

    fn stamp(&self) -> UnixMillis {
        self.0.stamp()
    }
}

struct HastyEntry(JoinHandle<Result<Box<dyn Proposed>, RouteError>>);

impl Proposed for HastyEntry {
    fn committed(&mut self) -> BoxFuture<'_, Result<(), RouteError>> {
        async { Ok(()) }.boxed()
    }

    fn applied(self: Box<Self>) -> BoxFuture<'static, Result<Bytes, RouteError>> {
        async move {
            let written = self.0.await.map_err(|_| RouteError::Stopping)?;
            written?.applied().await
        }
        .boxed()
    }
}

/// With the bug `forget_dedup_on_restart` it forgets the ids of everything that happened before this start.
pub(crate) struct ForgetfulAggregator {
    honest: Aggregator,
    is_forgetful: bool,
    started: UnixMillis,
}

impl Default for ForgetfulAggregator {
    fn default() -> Self {
        Self {
            honest: Aggregator,
            is_forgetful: is_planted("forget_dedup_on_restart"),
            started: SystemClock::new().now(),
        }
    }
}

impl SiteMachine for ForgetfulAggregator {
    type State = RuledState;
    type View = SiteView;

    fn load(
        &self,
        site: SiteGeneration,
        rules: &[u8],
        rows: &dyn RowReader,
    ) -> Result<RuledState, SiteMachineError> {
        let mut state = self.honest.load(site, rules, rows)?;
        if self.is_forgetful {
            state.forget_ids();
        }
        Ok(state)
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
        let verdicts = self.honest.apply(state, at, change, rows)?;
        if self.is_forgetful && at.stamp < self.started {
            state.forget_ids();
        }
        Ok(verdicts)
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
        self.honest.checkpoint(state, rows)
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
        self.honest.state_hash(state, rows)
    }
}

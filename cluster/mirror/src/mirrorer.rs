//! The duty that mirrors the groups that this node leads.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

use futures::{StreamExt as _, stream};
use parking_lot::Mutex;
use ringtail_checkpoint::cassandra::{Mirror, MirrorState};
use ringtail_partition::{MirrorTurn, Partitions, SiteMachine};
use ringtail_proto::GroupId;
use tokio::time::{MissedTickBehavior, interval, timeout};

use crate::{
    GroupMirror, MirrorerOptions, MirroringError,
    tenure::Tenure,
    turn::{Outcome, TELL_WAIT_MAX, Turn},
};

/// Carries the rows of the groups that this node leads into the mirror.
pub struct Mirrorer<M: SiteMachine> {
    partitions: Arc<Partitions<M>>,
    mirror: Mirror,
    options: MirrorerOptions,
    tenures: Mutex<BTreeMap<GroupId, Tenure>>,
    shown: Mutex<BTreeMap<GroupId, GroupMirror>>,
}

/// What a round did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MirrorRound {
    /// Sites written.
    pub sites: usize,
    /// Their rows.
    pub rows: usize,
    /// Sites that could not be written yet.
    pub left: usize,
    /// Groups of which something failed; they are tried again.
    pub failures: usize,
}

impl<M: SiteMachine> Mirrorer<M> {
    /// Over the partitions of this node. One for each mirror: two would do everything twice.
    #[must_use]
    pub fn new(partitions: Arc<Partitions<M>>, mirror: Mirror, options: MirrorerOptions) -> Self {
        Self {
            partitions,
            mirror,
            options,
            tenures: Mutex::default(),
            shown: Mutex::default(),
        }
    }

    /// Rounds until it is aborted.
    pub async fn run(self: Arc<Self>) {
        let mut ticks = interval(Duration::from_millis(self.options.round_interval_ms.max(1)));
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut pruned = Instant::now();
        loop {
            ticks.tick().await;
            self.run_once().await;
            if pruned.elapsed() >= Duration::from_millis(self.options.prune_interval_ms) {
                pruned = Instant::now();
                self.prune().await;
            }
        }
    }

    /// One round over all groups that this node leads.
    pub async fn run_once(&self) -> MirrorRound {
        let hosted = self.partitions.hosted();
        self.tenures
            .lock()
            .retain(|group, _| hosted.contains(group));
        self.shown.lock().retain(|group, _| hosted.contains(group));
        let mut round = MirrorRound::default();
        let mut turns = stream::iter(hosted)
            .map(async |group| (group, self.take_turn(group).await))
            .buffer_unordered(self.options.groups_at_once.max(1));
        while let Some((group, outcome)) = turns.next().await {
            match outcome {
                Ok(outcome) => {
                    round.sites += outcome.sites;
                    round.rows += outcome.rows;
                    round.left += outcome.left;
                    round.failures += usize::from(outcome.failure.is_some());
                }
                Err(error) => {
                    round.failures += 1;
                    self.note_failure(group, &error);
                }
            }
        }
        metrics::counter!("ringtail_mirror_sites_total").increment(round.sites as u64);
        metrics::counter!("ringtail_mirror_failures_total").increment(round.failures as u64);
        round
    }

    /// How far the groups that this node leads are.
    #[must_use]
    pub fn progress(&self) -> BTreeMap<GroupId, GroupMirror> {
        self.shown.lock().clone()
    }

    async fn take_turn(&self, group: GroupId) -> Result<Outcome, MirroringError> {
        let Some(moment) = self.partitions.mirror_turn(group).await? else {
            self.tenures.lock().remove(&group);
            self.shown.lock().remove(&group);
            return Ok(Outcome::default());
        };
        let known = self.tenures.lock().remove(&group);
        let mut tenure = match known.filter(|tenure| tenure.term == moment.term) {
            Some(tenure) => tenure,
            None => self.begin(group, &moment).await?,
        };
        let turn = Turn {
            group,
            moment: &moment,
            reader: self.mirror.reader(),
            writer: self.mirror.writer(),
            is_paused: self.mirror.state() != MirrorState::Up,
            options: &self.options,
        };
        let outcome = turn.run(&mut tenure).await;
        let told = match &outcome {
            Ok(outcome) => self.tell(group, &moment, &mut tenure, outcome).await,
            Err(_) => Ok(()),
        };
        self.show(group, &moment, &tenure, &outcome);
        self.tenures.lock().insert(group, tenure);
        told?;
        outcome
    }

    /// This node leads since a short while.
    async fn begin(&self, group: GroupId, moment: &MirrorTurn) -> Result<Tenure, MirroringError> {
        let tenure = Tenure::begin(moment).await?;
        if moment.noted_since.is_none() {
            self.partitions
                .note_noting_since(group, tenure.since)
                .await?;
        }
        let (term, sites) = (tenure.term, tenure.unknown.len());
        tracing::debug!(%group, term, sites, "checkpoint: mirroring begins");
        Ok(tenure)
    }

    /// Lets all replicas forget notes of what is in the mirror, if they have any.
    async fn tell(
        &self,
        group: GroupId,
        moment: &MirrorTurn,
        tenure: &mut Tenure,
        outcome: &Outcome,
    ) -> Result<(), MirroringError> {
        let through = tenure.through;
        let is_useful = outcome.lowest_kept.is_some_and(|kept| kept <= through)
            && moment.mirrored.is_none_or(|known| known < through);
        let interval = Duration::from_millis(self.options.tell_interval_ms);
        let is_due = tenure
            .told
            .is_none_or(|(known, at)| known < through && at.elapsed() >= interval);
        if !is_useful || !is_due {
            return Ok(());
        }
        let told = timeout(TELL_WAIT_MAX, self.partitions.note_mirrored(group, through)).await;
        told.map_err(|_| MirroringError::Undecided { group })??;
        tenure.told = Some((through, Instant::now()));
        Ok(())
    }

    fn show(
        &self,
        group: GroupId,
        moment: &MirrorTurn,
        tenure: &Tenure,
        outcome: &Result<Outcome, MirroringError>,
    ) {
        let shown = GroupMirror {
            through: tenure.through,
            settled: moment.settled,
            sites_left: match outcome {
                Ok(outcome) => outcome.left,
                Err(_) => tenure.unknown.len(),
            },
            failure: match outcome {
                Ok(outcome) => outcome.failure.as_ref().map(ToString::to_string),
                Err(error) => Some(error.to_string()),
            },
        };
        metrics::gauge!("ringtail_mirror_lag_entries", "group" => group.to_string())
            .set(shown.lag_entries() as f64);
        self.shown.lock().insert(group, shown);
    }

    fn note_failure(&self, group: GroupId, error: &MirroringError) {
        // Whoever connects says what is wrong with that, and less often.
        let is_said = error.is_outage() || self.mirror.state() != MirrorState::Up;
        match is_said {
            true => tracing::debug!(%group, %error, "checkpoint: the mirror waits"),
            false => tracing::warn!(%group, %error, "checkpoint: the mirror waits"),
        }
        if let Some(shown) = self.shown.lock().get_mut(&group) {
            shown.failure = Some(error.to_string());
        }
    }

    /// Removes what no reader needs any more.
    async fn prune(&self) {
        loop {
            match self.mirror.writer().prune().await {
                Ok(0) => return,
                Ok(_) => {}
                Err(error) => {
                    tracing::debug!(%error, "checkpoint: superseded versions stay for a while");
                    return;
                }
            }
        }
    }
}

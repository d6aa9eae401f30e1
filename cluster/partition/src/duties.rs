//! What a partition does beside applying: checkpoints, the floor, roll-ups, rest.

use std::sync::{Arc, atomic::Ordering};

use parking_lot::Mutex;
use ringtail_proto::SiteGeneration;
use ringtail_raft::LogPosition;
use ringtail_raft::spawn_blocking;

use crate::{
    FloorSink, PartitionError, SiteError, SiteMachine,
    duty_plan::{DutyPlan, Moment},
    partition::Partition,
    site_actor::{BeginRollUp, Checkpoint, FinishRollUp, Rest, Written, guard},
};

/// A site is asked for pieces of roll-up at most this often in one round: a long history takes several rounds.
const SITE_ROLL_UPS_MAX: usize = 32;

/// The duties of one partition, done in rounds.
pub(crate) struct Duties<M: SiteMachine> {
    partition: Arc<Partition<M>>,
    floors: Arc<dyn FloorSink>,
    last_floor: Mutex<LastFloor>,
}

/// When the floor was raised.
#[derive(Clone, Copy, Debug, Default)]
struct LastFloor {
    at_ms: u64,
    log_bytes: u64,
    node_log_bytes: u64,
}

/// What was done for one site.
struct RolledUp {
    pieces: usize,
    /// Nobody has looked and found nothing left to do.
    has_more: bool,
}

/// What a round of duties did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DutyReport {
    /// Sites written.
    pub checkpoints: usize,
    /// Sites that could not be written; they are tried again.
    pub checkpoint_failures: usize,
    /// Pieces of background work written.
    pub roll_ups: usize,
    /// Sites put to rest.
    pub rests: usize,
    /// The floor was raised.
    pub has_raised_floor: bool,
    /// Rows removed of generations that have ended.
    pub removed_rows: usize,
    /// Notes removed that nobody needs any more.
    pub forgotten_notes: usize,
}

impl<M: SiteMachine> Duties<M> {
    pub(crate) fn new(partition: Arc<Partition<M>>, floors: Arc<dyn FloorSink>) -> Self {
        let last_floor = Mutex::new(LastFloor {
            at_ms: partition.now_ms(),
            log_bytes: 0,
            node_log_bytes: 0,
        });
        Self {
            partition,
            floors,
            last_floor,
        }
    }

    /// One round. A site that cannot be written is counted and tried again in a later round.
    pub(crate) async fn run_once(&self, is_shutdown: bool) -> Result<DutyReport, PartitionError> {
        let partition = &self.partition;
        let mut report = DutyReport::default();
        let entrance = partition.enter().await?;
        let plan = partition.duty_plan(is_shutdown);
        tracing::debug!(group = %partition.group, %plan, "checkpoint: duties");
        self.checkpoint(&plan, &mut report).await;
        let stored = self.store_floor(is_shutdown).await;
        let stored = stored.inspect_err(|error| partition.note_store_failure(error))?;
        // Raft may be waiting to bring other rows, so nobody waits for Raft in here.
        drop(entrance);
        if let Some(position) = stored {
            self.tell_raft(position).await?;
            report.has_raised_floor = true;
        }
        let _entrance = partition.enter().await?;
        if report.has_raised_floor {
            report.forgotten_notes = partition.forget_old_notes().await?;
        }
        if !is_shutdown {
            report.roll_ups = self.roll_up().await;
            report.removed_rows = partition.remove_ended().await?;
        }
        report.rests = partition.rest(&plan).await;
        self.show(&report);
        Ok(report)
    }

    async fn checkpoint(&self, plan: &DutyPlan, report: &mut DutyReport) {
        let partition = &self.partition;
        for (site, _) in &plan.checkpoints {
            match partition.checkpoint_site(*site).await {
                Ok(written) => {
                    report.checkpoints += 1;
                    if written.has_pages {
                        partition.roll_ups.lock().push(*site);
                    }
                }
                Err(error) => {
                    report.checkpoint_failures += 1;
                    tracing::error!(%site, %error, "checkpoint: a site could not be written");
                }
            }
        }
    }

    /// Sites that have background work left.
    #[cfg(test)]
    pub(crate) fn roll_ups_left(&self) -> usize {
        self.partition.roll_ups.lock().len()
    }

    /// Writes the floor when it is worth it.
    async fn store_floor(&self, is_forced: bool) -> Result<Option<LogPosition>, PartitionError> {
        let partition = &self.partition;
        if !is_forced && !self.is_floor_due() {
            return Ok(None);
        }
        let stored = partition.store_floor().await?;
        if stored.is_some() {
            *self.last_floor.lock() = LastFloor {
                at_ms: partition.now_ms(),
                log_bytes: partition.counters.log_bytes.load(Ordering::Relaxed),
                node_log_bytes: partition.seams.node_log_bytes.load(Ordering::Relaxed),
            };
        }
        Ok(stored)
    }

    /// The floor is on disk, so the log below it may go.
    async fn tell_raft(&self, position: LogPosition) -> Result<(), PartitionError> {
        let raised = self.floors.raise_floor(position).await;
        raised.map_err(|error| PartitionError::Floor {
            group: self.partition.group,
            message: error.to_string(),
        })
    }

    fn is_floor_due(&self) -> bool {
        let partition = &self.partition;
        let last = *self.last_floor.lock();
        let log_bytes = partition.counters.log_bytes.load(Ordering::Relaxed);
        let node_log_bytes = partition.seams.node_log_bytes.load(Ordering::Relaxed);
        let options = &partition.options;
        partition.now_ms().saturating_sub(last.at_ms) >= options.floor_age_ms_max
            || log_bytes.saturating_sub(last.log_bytes) >= options.floor_log_bytes_max
            || node_log_bytes.saturating_sub(last.node_log_bytes)
                >= options.floor_node_log_bytes_max
    }

    /// Rolls up days and months of sites that had new pages, now or in an earlier round. A failure costs speed of
    /// queries, nothing else: the site comes back with its next pages.
    async fn roll_up(&self) -> usize {
        let mut left = self.partition.options.round_roll_ups_max;
        let mut pieces = 0;
        let waiting = self.partition.roll_ups.lock().len();
        for _ in 0..waiting {
            let site = match left {
                0 => None,
                _ => self.partition.roll_ups.lock().pop(),
            };
            let Some(site) = site else { break };
            if !self.partition.feeds().contains(site) {
                continue;
            }
            let done = match self.roll_up_site(site, left.min(SITE_ROLL_UPS_MAX)).await {
                Ok(RolledUp { pieces, has_more }) => {
                    if has_more {
                        self.partition.roll_ups.lock().push(site);
                    }
                    pieces
                }
                Err(error) => {
                    self.partition.note_store_failure(&error);
                    tracing::error!(%site, %error, "checkpoint: roll-up failed");
                    0
                }
            };
            pieces += done;
            // A look that finds nothing costs something, too.
            left -= done.max(1);
        }
        pieces
    }

    async fn roll_up_site(
        &self,
        site: SiteGeneration,
        most: usize,
    ) -> Result<RolledUp, PartitionError> {
        let partition = &self.partition;
        for pieces in 0..most {
            let begun = partition.ask(site, || BeginRollUp).await?;
            let (reader, revision) = begun.map_err(|error| partition.site_error(site, error))?;
            let machine = partition.machine.clone();
            let work = move || guard("roll_up", || machine.roll_up(site.site, &reader));
            let writes = match spawn_blocking(work).await {
                Ok(result) => result.map_err(|error| partition.site_error(site, error))?,
                Err(_) => return Err(PartitionError::Stopping(partition.group)),
            };
            let mut rolled_up = RolledUp {
                pieces,
                has_more: false,
            };
            if writes.is_empty() {
                return Ok(rolled_up);
            }
            let finish = || FinishRollUp {
                revision,
                writes: writes.clone(),
            };
            let finished = partition.ask(site, finish).await?;
            let is_written = finished.map_err(|error| partition.site_error(site, error))?;
            if !is_written {
                rolled_up.has_more = true;
                return Ok(rolled_up);
            }
        }
        Ok(RolledUp {
            pieces: most,
            has_more: true,
        })
    }

    fn show(&self, report: &DutyReport) {
        let group = self.partition.group.to_string();
        let readings = self.partition.sites.readings();
        let dirty = readings
            .iter()
            .filter(|(_, reading)| reading.dirty_since.is_some())
            .count();
        let failing = readings
            .iter()
            .filter(|(_, reading)| reading.failures > 0)
            .count();
        metrics::gauge!("ringtail_checkpoint_sites_failing", "group" => group.clone())
            .set(failing as f64);
        metrics::gauge!("ringtail_aggregate_sites_active", "group" => group.clone())
            .set(readings.len() as f64);
        metrics::gauge!("ringtail_checkpoint_sites_dirty", "group" => group).set(dirty as f64);
        metrics::counter!("ringtail_checkpoint_sites_total").increment(report.checkpoints as u64);
        metrics::counter!("ringtail_checkpoint_site_failures_total")
            .increment(report.checkpoint_failures as u64);
        metrics::counter!("ringtail_checkpoint_roll_ups_total").increment(report.roll_ups as u64);
        metrics::counter!("ringtail_aggregate_sites_rested_total").increment(report.rests as u64);
    }
}

impl<M: SiteMachine> Partition<M> {
    fn duty_plan(&self, is_shutdown: bool) -> DutyPlan {
        let moment = Moment {
            now_ms: self.now_ms(),
            node_log_bytes: self.seams.node_log_bytes.load(Ordering::Relaxed),
            is_shutdown,
            sites_max: self.node.sites_active_max(),
        };
        DutyPlan::compute(&self.sites.readings(), moment, &self.options)
    }

    /// Writes a site that is dirty: one atomic batch, visible at once, durable with the next persist.
    pub(crate) async fn checkpoint_site(
        self: &Arc<Self>,
        site: SiteGeneration,
    ) -> Result<Written, PartitionError> {
        let written = self.ask(site, || Checkpoint).await?;
        self.sites
            .note_checkpoint(site, written.as_ref(), self.now_ms());
        let written = written.map_err(|error: SiteError| self.site_error(site, error));
        let written = written.inspect_err(|error| self.note_store_failure(error))?;
        metrics::counter!("ringtail_checkpoint_rows_total").increment(written.rows as u64);
        metrics::counter!("ringtail_checkpoint_site_value_bytes_total")
            .increment(written.value_bytes);
        Ok(written)
    }

    /// Puts sites to rest that are clean and were not used since the plan was made.
    async fn rest(self: &Arc<Self>, plan: &DutyPlan) -> usize {
        let mut rested = 0;
        for (site, used_at_ms_max) in &plan.rests {
            let Some(address) = self.active_address(*site) else {
                continue;
            };
            let rest = Rest {
                used_at_ms_max: *used_at_ms_max,
            };
            // An actor that has ended by itself is forgotten alike only when it was clean, so not here.
            if matches!(address.send(rest).await, Ok(true)) {
                self.sites.forget(*site, &address);
                rested += 1;
            }
        }
        rested
    }

    /// Before a run of entries for some sites: when there would be too many, the longest unused are written and put to
    /// rest. When that fails (a full disk), memory grows instead: apply does not wait for the disk.
    pub(crate) async fn make_room(self: &Arc<Self>, coming: usize) {
        let sites_max = self.node.sites_active_max();
        if self.sites.len() + coming <= sites_max || self.sites.len() <= sites_max / 2 {
            return;
        }
        let moment = Moment {
            now_ms: self.now_ms(),
            node_log_bytes: self.seams.node_log_bytes.load(Ordering::Relaxed),
            is_shutdown: false,
            sites_max: sites_max.saturating_sub(coming).max(sites_max / 2),
        };
        let plan = DutyPlan::room(&self.sites.readings(), moment, &self.options);
        tracing::info!(group = %self.group, %plan, "checkpoint: making room for sites");
        for (site, _) in &plan.checkpoints {
            if let Err(error) = self.checkpoint_site(*site).await {
                tracing::error!(%site, %error, "checkpoint: a site could not make room");
            }
        }
        let rested = self.rest(&plan).await;
        metrics::counter!("ringtail_aggregate_sites_rested_total").increment(rested as u64);
    }
}

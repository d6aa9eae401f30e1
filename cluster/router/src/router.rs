//! From a site to the log of its group.

mod lane;
mod start;
mod written;

use std::{sync::Arc, time::Duration};

use actix_rt::{Arbiter, ArbiterHandle};
use arc_swap::ArcSwap;
use futures::future::join_all;
use parking_lot::Mutex;
use ringtail_proto::{
    Event, GroupId, NodeId, SiteId,
    stored::{ImportMark, SiteCommand},
};
use ringtail_ring::SlotTable;
use tokio::sync::oneshot;

use crate::{
    Clock, CommandSubmission, GroupLeadership, IngestGate, LeaderLink, ReplicatedLog, RouteError,
    RouterOptions, SpoolLink, SpoolPlace, Submission,
    batcher::{Drain, SetLocal, Stop},
    budget::{Budget, Charge},
    queue::Item,
    spool::Spool,
    stage_metrics::RouteMetrics,
    submission::Ticket,
    weight::bytes_of,
};

use lane::Lane;

/// A command is small; this stands for its bytes in the budget.
const COMMAND_BYTES: usize = 16 << 10;

/// A group and the ways to it.
pub struct GroupRoute {
    /// The group.
    pub group: GroupId,
    /// Its log, if this node has a replica; see [`Router::set_local`].
    pub log: Option<Arc<dyn ReplicatedLog>>,
    /// Who leads it.
    pub leadership: Arc<dyn GroupLeadership>,
}

/// What the router sees of the world.
pub struct RouterSeams {
    /// This node.
    pub node: NodeId,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// The way to leaders elsewhere.
    pub leaders: Arc<dyn LeaderLink>,
    /// The way to those who keep copies of what is spooled.
    pub copies: Arc<dyn SpoolLink>,
    /// Where events wait while their group has no quorum.
    pub spool: SpoolPlace,
    /// Where the batchers run.
    pub spawning: Spawning,
}

/// Where the batchers run.
pub enum Spawning {
    /// On this many threads of their own, which end with [`Router::shutdown`]. Needs a running actix system.
    OwnArbiters(usize),
    /// On these arbiters, in turns.
    Arbiters(Vec<ArbiterHandle>),
    /// On the calling thread's local set, for simulators.
    CurrentThread,
}

/// Takes events and commands and sees them into the log of their site's group. Clones are the same router.
#[derive(Clone)]
pub struct Router {
    inner: Arc<Inner>,
}

struct Inner {
    options: RouterOptions,
    slots: ArcSwap<SlotTable>,
    /// By group, ascending.
    lanes: Vec<Lane>,
    budget: Arc<Budget>,
    gate: Arc<IngestGate>,
    spool: Arc<Spool>,
    metrics: RouteMetrics,
    own_arbiters: Mutex<Vec<Arbiter>>,
}

impl Router {
    /// Takes a new table of slots.
    ///
    /// # Errors
    /// When a slot's group has no route; the former table stays.
    pub fn set_slots(&self, slots: SlotTable) -> Result<(), RouteError> {
        check_slots(&slots, |group| self.lane(group).is_ok())?;
        self.inner.slots.store(Arc::new(slots));
        Ok(())
    }

    /// Says that a group's replica on this node came or went.
    ///
    /// # Errors
    /// When the group has no route.
    pub fn set_local(
        &self,
        group: GroupId,
        log: Option<Arc<dyn ReplicatedLog>>,
    ) -> Result<(), RouteError> {
        self.lane(group)?.batcher.do_send(SetLocal(log));
        Ok(())
    }

    pub(crate) fn options(&self) -> &RouterOptions {
        &self.inner.options
    }

    /// Files of events that wait in the spool to be forwarded by this node.
    #[must_use]
    pub fn spool_files_waiting(&self) -> usize {
        self.inner.spool.files_waiting()
    }

    /// True while nothing waits in the spool for its group.
    #[must_use]
    pub fn is_spool_drained(&self) -> bool {
        self.inner.spool.is_drained()
    }

    /// The switch that sheds events while the disk is near its limit.
    #[must_use]
    pub fn gate(&self) -> Arc<IngestGate> {
        Arc::clone(&self.inner.gate)
    }

    /// Bytes between submission and verdict.
    #[must_use]
    pub fn bytes_in_flight(&self) -> usize {
        self.inner.budget.bytes_in_flight()
    }

    /// The group of a site.
    #[must_use]
    pub fn group_of(&self, site: SiteId) -> GroupId {
        self.inner.slots.load().group_of(site)
    }

    /// Sends events of one site on their way; never waits. An import's mark may come without events.
    ///
    /// # Errors
    /// Nothing was written: see [`RouteError::kind`].
    pub fn submit(
        &self,
        site: SiteId,
        events: Vec<Event>,
        import: Option<ImportMark>,
    ) -> Result<Submission, RouteError> {
        let submitted = self.try_submit(site, events, import);
        self.count_refusal(submitted)
    }

    /// Sends a command to one site on its way, in order with its events; never waits.
    ///
    /// # Errors
    /// Nothing was written: see [`RouteError::kind`].
    pub fn command(
        &self,
        site: SiteId,
        command: SiteCommand,
    ) -> Result<CommandSubmission, RouteError> {
        let submitted = self.try_command(site, command);
        self.count_refusal(submitted)
    }

    /// Takes nothing more, sees what was taken through, into the spool if need be, and stops. Whatever is left after the
    /// deadline is answered: refused if it was not proposed, in doubt if it was. What is in the spool stays there.
    ///
    /// Returns false when the deadline came first.
    pub async fn shutdown(&self, deadline: Duration) -> bool {
        self.inner.gate.stop();
        self.inner.spool.stop();
        let draining = self.inner.lanes.iter().map(|lane| {
            let (sender, done) = oneshot::channel();
            lane.batcher.do_send(Drain(sender));
            done
        });
        let drained = join_all(draining.collect::<Vec<_>>());
        let is_drained = tokio::time::timeout(deadline, drained).await.is_ok();
        if !is_drained {
            tracing::warn!(?deadline, "router stops with entries in flight");
        }
        let stopping = self.inner.lanes.iter().map(|lane| lane.batcher.send(Stop));
        // A batcher that is gone has stopped.
        drop(join_all(stopping.collect::<Vec<_>>()).await);
        let arbiters = std::mem::take(&mut *self.inner.own_arbiters.lock());
        let joined = ringtail_raft::spawn_blocking(move || {
            for arbiter in arbiters {
                arbiter.stop();
                // A panic of an arbiter's thread was reported when it happened.
                drop(arbiter.join());
            }
        });
        if let Err(error) = joined.await {
            tracing::error!(%error, "router threads could not be joined");
        }
        is_drained
    }

    fn try_submit(
        &self,
        site: SiteId,
        events: Vec<Event>,
        import: Option<ImportMark>,
    ) -> Result<Submission, RouteError> {
        self.inner.gate.check_events()?;
        let (count, bytes) = (
            events.len(),
            bytes_of(&events) + bytes_of_mark(import.as_ref()),
        );
        let RouterOptions {
            batch_events_max,
            batch_bytes_max,
            ..
        } = self.inner.options;
        if count > batch_events_max || bytes > batch_bytes_max {
            return Err(RouteError::TooLarge {
                events: count,
                bytes,
                events_max: batch_events_max,
                bytes_max: batch_bytes_max,
            });
        }
        let lane = self.lane(self.group_of(site))?;
        let charge = self.charge(site, count, bytes)?;
        let place = lane.line.take_place()?;
        let (ticket, submission) = Ticket::for_events(lane.group, charge);
        if count == 0 && import.is_none() {
            ticket.answer_nothing();
            return Ok(submission);
        }
        lane.enqueue(Item::Events {
            site,
            events,
            import,
            bytes,
            ticket,
            place,
        })?;
        self.inner.metrics.submitted(count, self.bytes_in_flight());
        Ok(submission)
    }

    fn try_command(
        &self,
        site: SiteId,
        command: SiteCommand,
    ) -> Result<CommandSubmission, RouteError> {
        self.inner.gate.check_commands()?;
        let lane = self.lane(self.group_of(site))?;
        let charge = self.charge(site, 0, COMMAND_BYTES)?;
        let place = lane.line.take_place()?;
        let (ticket, submission) = Ticket::for_command(lane.group, charge);
        lane.enqueue(Item::Command {
            command,
            ticket,
            place,
        })?;
        Ok(submission)
    }

    fn charge(&self, site: SiteId, events: usize, bytes: usize) -> Result<Charge, RouteError> {
        self.inner.budget.charge(site, events, bytes)
    }

    fn lane(&self, group: GroupId) -> Result<&Lane, RouteError> {
        let lanes = &self.inner.lanes;
        let position = lanes.binary_search_by_key(&group, |lane| lane.group);
        let lane = position.ok().and_then(|position| lanes.get(position));
        lane.ok_or(RouteError::UnknownGroup(group))
    }

    fn count_refusal<T>(&self, result: Result<T, RouteError>) -> Result<T, RouteError> {
        if let Err(error) = &result {
            self.inner.metrics.refused(error);
        }
        result
    }
}

/// Refuses a table that names a group without a route.
fn check_slots(slots: &SlotTable, has_route: impl Fn(GroupId) -> bool) -> Result<(), RouteError> {
    match slots
        .partitions()
        .into_keys()
        .find(|group| !has_route(*group))
    {
        Some(group) => Err(RouteError::UnknownGroup(group)),
        None => Ok(()),
    }
}

fn bytes_of_mark(import: Option<&ImportMark>) -> usize {
    // A line's position takes five bytes at most.
    import.map_or(0, |mark| {
        mark.source.len() + mark.prefix_hash.len() + 5 * mark.lines.len() + 64
    })
}

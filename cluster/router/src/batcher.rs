//! The actor that turns one group's submissions into entries and sees them to the group's leader.

mod journey;
mod messages;

use std::{collections::BTreeMap, sync::Arc};

use actix::{Actor, ActorContext as _, AsyncContext as _, Context, Handler, SpawnHandle};
use ringtail_proto::{GroupId, UnixMillis};
use tokio::sync::oneshot;

use crate::{
    Clock, GroupLeadership, LeaderLink, ReplicatedLog, RouteError, RouterOptions,
    entry::Journey,
    lane_state::{Outage, Pipeline},
    queue::Queue,
    spool::Spool,
    stage_metrics::ReplicateMetrics,
};

use messages::Wake;
pub(crate) use messages::{Drain, SetLocal, Started, Stop, Submit};

/// One group's batcher. While the pipeline is full, submissions gather, so entries grow with the load and a single
/// event never waits for company.
///
/// Entries leave in order. One that is tried again may be overtaken by those behind it: state is a function of the set
/// of events, a newer revision of settings stands against an older one, and imports go one by one.
pub(crate) struct Batcher {
    seams: LaneSeams,
    log: Option<Arc<dyn ReplicatedLog>>,
    queue: Queue,
    /// Entries that wait for another try, in order.
    again: BTreeMap<u64, Journey>,
    pipeline: Pipeline,
    outage: Outage,
    /// Nothing leaves until this timer rings.
    pause: Option<SpawnHandle>,
    /// The number of the last entry.
    number: u64,
    /// What jitter comes from.
    random: u64,
    /// The last stamp given; see [`Batcher::next_stamp`].
    stamp: UnixMillis,
    /// Nothing more is taken.
    is_draining: bool,
    /// Those who wait until nothing is left.
    drained: Vec<oneshot::Sender<()>>,
}

/// What a lane sees of the world.
#[derive(Clone)]
pub(crate) struct LaneSeams {
    pub(crate) group: GroupId,
    pub(crate) leadership: Arc<dyn GroupLeadership>,
    pub(crate) link: Arc<dyn LeaderLink>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) spool: Arc<Spool>,
    pub(crate) options: RouterOptions,
    pub(crate) metrics: Arc<ReplicateMetrics>,
}

impl Actor for Batcher {
    type Context = Context<Self>;

    fn started(&mut self, context: &mut Self::Context) {
        // The places in line bound the submissions; the mailbox only has to be no narrower.
        context.set_mailbox_capacity(self.seams.options.group_submissions_max);
        self.follow_leader(context);
    }
}

impl Handler<Started> for Batcher {
    type Result = ();

    fn handle(&mut self, _: Started, _: &mut Self::Context) {}
}

impl Handler<Submit> for Batcher {
    type Result = ();

    fn handle(&mut self, Submit(item): Submit, context: &mut Self::Context) {
        if self.is_draining {
            item.refuse(&RouteError::Stopping);
            return;
        }
        self.queue.push(item);
        let pipeline = &mut self.pipeline;
        let options = &self.seams.options;
        let has_room = pipeline.has_room(options) || pipeline.has_room_for_written(options);
        let is_ready = !pipeline.is_proposing && has_room;
        if !pipeline.is_woken && is_ready {
            pipeline.is_woken = true;
            context.notify(Wake);
        }
    }
}

impl Handler<Wake> for Batcher {
    type Result = ();

    fn handle(&mut self, _: Wake, context: &mut Self::Context) {
        self.pipeline.is_woken = false;
        self.propose_next(context);
    }
}

impl Handler<SetLocal> for Batcher {
    type Result = ();

    fn handle(&mut self, SetLocal(log): SetLocal, context: &mut Self::Context) {
        self.log = log;
        self.leader_changed(context);
    }
}

impl Handler<Drain> for Batcher {
    type Result = ();

    fn handle(&mut self, Drain(done): Drain, context: &mut Self::Context) {
        self.is_draining = true;
        self.drained.push(done);
        self.propose_next(context);
        self.finish_draining();
    }
}

impl Handler<Stop> for Batcher {
    type Result = ();

    fn handle(&mut self, _: Stop, context: &mut Self::Context) {
        context.stop();
    }
}

impl Batcher {
    pub(crate) fn new(seams: LaneSeams, log: Option<Arc<dyn ReplicatedLog>>) -> Self {
        Self {
            random: u64::from(seams.group.0) << 32 | 0x9e37_79b9,
            seams,
            log,
            queue: Queue::default(),
            again: BTreeMap::new(),
            pipeline: Pipeline::default(),
            outage: Outage::default(),
            pause: None,
            number: 0,
            stamp: UnixMillis(0),
            is_draining: false,
            drained: Vec::new(),
        }
    }

    /// The clock may jump back and another node may have led before: the stamp never falls.
    fn next_stamp(&self, log: &dyn ReplicatedLog) -> UnixMillis {
        self.stamp.max(log.stamp()).max(self.seams.clock.now())
    }

    fn finish_draining(&mut self) {
        if !self.queue.is_empty() || !self.pipeline.is_empty() {
            return;
        }
        for done in self.drained.drain(..) {
            // Whoever stopped waiting has its own deadline.
            let _ = done.send(());
        }
    }
}

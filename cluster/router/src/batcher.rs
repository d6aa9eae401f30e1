//! The actor that turns one group's submissions into entries.

use std::{sync::Arc, time::Duration};

use actix::{
    Actor, ActorContext as _, ActorFutureExt as _, AsyncContext as _, Context, Handler, Message,
    WrapFuture as _,
};
use bytes::Bytes;
use futures::{FutureExt as _, future::ready};
use ringtail_proto::{GroupId, UnixMillis};
use tokio::sync::oneshot;

use crate::{
    Clock, Proposed, ReplicatedLog, RouteError, RouterOptions,
    queue::{Item, Queue, Waiting},
    stage_metrics::ReplicateMetrics,
};

/// One group's batcher. While the pipeline is full, submissions gather, so entries grow with the load and a single
/// event never waits for company.
pub(crate) struct Batcher {
    group: GroupId,
    log: Arc<dyn ReplicatedLog>,
    clock: Arc<dyn Clock>,
    options: RouterOptions,
    metrics: Arc<ReplicateMetrics>,
    queue: Queue,
    pipeline: Pipeline,
    /// The last stamp given; see [`Batcher::next_stamp`].
    stamp: UnixMillis,
    /// Nothing more is taken.
    is_draining: bool,
    /// Those who wait until nothing is left.
    drained: Vec<oneshot::Sender<()>>,
}

/// What is on its way.
#[derive(Default)]
struct Pipeline {
    /// An entry is being handed to the log; the next waits, so that entries keep their order.
    is_proposing: bool,
    /// A message to look at the queue is in the mailbox.
    is_woken: bool,
    uncommitted: usize,
    unapplied: usize,
}

impl Pipeline {
    fn has_room(&self, options: &RouterOptions) -> bool {
        !self.is_proposing
            && self.uncommitted < options.entries_in_flight_max
            && self.unapplied < options.entries_unapplied_max
    }

    fn is_empty(&self) -> bool {
        self.unapplied == 0
    }
}

/// A submission.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct Submit(pub(crate) Item);

/// Answers once the actor handles messages with its own mailbox bound.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct Started;

/// Take no more, and answer when nothing is left.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct Drain(pub(crate) oneshot::Sender<()>);

/// Look at the queue. Sent behind the submissions that are in the mailbox already, so that they share an entry.
#[derive(Message)]
#[rtype(result = "()")]
struct Wake;

/// Stop now. What is left is answered as it is dropped.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct Stop;

impl Actor for Batcher {
    type Context = Context<Self>;

    fn started(&mut self, context: &mut Self::Context) {
        // The places in line bound the submissions; the mailbox only has to be no narrower.
        context.set_mailbox_capacity(self.options.group_submissions_max);
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
        if !self.pipeline.is_woken && self.pipeline.has_room(&self.options) {
            self.pipeline.is_woken = true;
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
    pub(crate) fn new(
        group: GroupId,
        log: Arc<dyn ReplicatedLog>,
        clock: Arc<dyn Clock>,
        options: RouterOptions,
        metrics: Arc<ReplicateMetrics>,
    ) -> Self {
        Self {
            group,
            log,
            clock,
            options,
            metrics,
            queue: Queue::default(),
            pipeline: Pipeline::default(),
            stamp: UnixMillis(0),
            is_draining: false,
            drained: Vec::new(),
        }
    }

    fn propose_next(&mut self, context: &mut Context<Self>) {
        if !self.pipeline.has_room(&self.options) {
            return;
        }
        let Some(draft) = self.queue.take_entry(&self.options) else {
            return;
        };
        self.stamp = self.next_stamp();
        let entry = draft.encode(self.group, self.stamp);
        self.metrics.proposed(entry.events, entry.bytes.len());
        self.pipeline.is_proposing = true;
        self.pipeline.uncommitted += 1;
        self.pipeline.unapplied += 1;
        let waiting = entry.waiting;
        let proposing = self.log.propose(entry.bytes).into_actor(self);
        context.spawn(proposing.map(|proposed, batcher, context| {
            batcher.pipeline.is_proposing = false;
            match proposed {
                Ok(proposed) => batcher.follow(proposed, waiting, context),
                Err(error) => {
                    batcher.pipeline.uncommitted -= 1;
                    batcher.finish(waiting, Err(error), context);
                }
            }
            batcher.propose_next(context);
        }));
    }

    /// The clock may jump back and another node may have led before: the stamp never falls.
    fn next_stamp(&self) -> UnixMillis {
        self.stamp.max(self.log.stamp()).max(self.clock.now())
    }

    /// Answers an entry's submissions as it commits and is applied.
    fn follow(
        &self,
        mut proposed: Box<dyn Proposed>,
        mut waiting: Waiting,
        context: &mut Context<Self>,
    ) {
        let begin = self.clock.elapsed();
        let committing = async move {
            let committed = proposed.committed().await;
            (proposed, committed)
        };
        let following =
            committing
                .into_actor(self)
                .then(move |(proposed, committed), batcher, context| {
                    batcher.pipeline.uncommitted -= 1;
                    waiting.answer_committed(&committed);
                    batcher.propose_next(context);
                    let applying = match committed {
                        Ok(()) => {
                            batcher.metrics.committed(batcher.since(begin));
                            proposed.applied()
                        }
                        Err(error) => ready(Err(error)).boxed(),
                    };
                    applying
                        .into_actor(batcher)
                        .map(move |applied, batcher, context| {
                            batcher.metrics.applied(batcher.since(begin));
                            batcher.finish(waiting, applied, context);
                        })
                });
        context.spawn(following);
    }

    /// Answers an entry's submissions for good.
    fn finish(
        &mut self,
        waiting: Waiting,
        applied: Result<Bytes, RouteError>,
        context: &mut Context<Self>,
    ) {
        self.pipeline.unapplied -= 1;
        match applied {
            Ok(reply) => waiting.answer_applied(reply),
            Err(error) => {
                self.metrics.failed(&error);
                tracing::warn!(group = %self.group, %error, "entry is not known to be applied");
                waiting.refuse(&error);
            }
        }
        self.propose_next(context);
        self.finish_draining();
    }

    fn since(&self, begin: Duration) -> Duration {
        self.clock.elapsed().saturating_sub(begin)
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

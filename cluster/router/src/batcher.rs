//! The actor that turns one group's submissions into entries.

use std::sync::Arc;

use actix::{
    Actor, ActorFutureExt as _, AsyncContext as _, Context, Handler, Message, WrapFuture as _,
};
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
    pub(crate) group: GroupId,
    pub(crate) log: Arc<dyn ReplicatedLog>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) options: RouterOptions,
    pub(crate) metrics: Arc<ReplicateMetrics>,
    pub(crate) queue: Queue,
    pub(crate) pipeline: Pipeline,
    /// The last stamp given; see [`Batcher::next_stamp`].
    pub(crate) stamp: UnixMillis,
    /// Nothing more is taken.
    pub(crate) is_draining: bool,
    /// Those who wait until nothing is left.
    pub(crate) drained: Vec<oneshot::Sender<()>>,
}

/// What is on its way.
#[derive(Default)]
pub(crate) struct Pipeline {
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

/// An entry has left the first part of the pipeline, or both.
#[derive(Message)]
#[rtype(result = "()")]
enum Progress {
    Committed,
    Applied,
}

impl Actor for Batcher {
    type Context = Context<Self>;

    fn started(&mut self, context: &mut Self::Context) {
        context.set_mailbox_capacity(self.options.mailbox_submissions_max);
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

impl Handler<Progress> for Batcher {
    type Result = ();

    fn handle(&mut self, progress: Progress, context: &mut Self::Context) {
        match progress {
            Progress::Committed => self.pipeline.uncommitted -= 1,
            Progress::Applied => self.pipeline.unapplied -= 1,
        }
        self.propose_next(context);
        self.finish_draining();
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

impl Batcher {
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
        let proposing = self.log.propose(entry.bytes);
        let waiting = entry.waiting;
        let proposing = proposing
            .into_actor(self)
            .map(|proposed, batcher, context| {
                batcher.pipeline.is_proposing = false;
                batcher.follow(proposed, waiting, context);
                batcher.propose_next(context);
                batcher.finish_draining();
            });
        context.spawn(proposing);
    }

    /// The clock may jump back and another node may have led before: the stamp never falls.
    fn next_stamp(&self) -> UnixMillis {
        self.stamp.max(self.log.stamp()).max(self.clock.now())
    }

    /// Answers an entry's submissions as it commits and is applied.
    fn follow(
        &mut self,
        proposed: Result<Box<dyn Proposed>, RouteError>,
        mut waiting: Waiting,
        context: &mut Context<Self>,
    ) {
        let mut proposed = match proposed {
            Ok(proposed) => proposed,
            Err(error) => {
                self.metrics.failed(&error);
                waiting.refuse(&error);
                self.pipeline.uncommitted -= 1;
                self.pipeline.unapplied -= 1;
                return;
            }
        };
        let (metrics, clock) = (Arc::clone(&self.metrics), Arc::clone(&self.clock));
        let batcher = context.address();
        let begin = clock.elapsed();
        actix_rt::spawn(async move {
            let committed = proposed.committed().await;
            waiting.answer_committed(&committed);
            batcher.do_send(Progress::Committed);
            let applied = match committed {
                Ok(()) => {
                    metrics.committed(clock.elapsed().saturating_sub(begin));
                    proposed.applied().await
                }
                Err(error) => Err(error),
            };
            match applied {
                Ok(reply) => {
                    metrics.applied(clock.elapsed().saturating_sub(begin));
                    waiting.answer_applied(reply);
                }
                Err(error) => {
                    metrics.failed(&error);
                    tracing::warn!(%error, "entry is not known to be applied");
                    waiting.refuse(&error);
                }
            }
            batcher.do_send(Progress::Applied);
        });
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

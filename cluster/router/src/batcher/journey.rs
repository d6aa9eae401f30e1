//! An entry's way: attempts at the leader, wherever it is, until a quorum holds it, or else the spool.

use std::time::Duration;

use actix::{ActorFutureExt as _, AsyncContext as _, Context, WrapFuture as _};
use bytes::Bytes;
use futures::{
    FutureExt as _,
    future::{BoxFuture, ready},
};
use tokio::time::{Instant, timeout, timeout_at};

use super::Batcher;
use crate::{
    Durability, Leader, Proposed, RouteError,
    draft::Draft,
    entry::{EntryKind, Journey},
    retry::{self, RetryReason},
    spool::SpooledEntry,
};

/// So often in a row a new leader is asked without a pause.
const HASTE_FAILURES_MAX: u32 = 4;

type Attempt = BoxFuture<'static, Result<Box<dyn Proposed>, RouteError>>;

impl Batcher {
    /// Sends the next entry on its way, if it may leave.
    pub(super) fn propose_next(&mut self, context: &mut Context<Self>) {
        while self.pause.is_none() && !self.pipeline.is_proposing {
            let Some(mut journey) = self.next_journey() else {
                return;
            };
            if journey.deadline <= Instant::now() {
                let error = journey
                    .failure
                    .take()
                    .unwrap_or_else(|| self.outage_error());
                self.give_up(journey, error, context);
                continue;
            }
            self.attempt(journey, context);
        }
    }

    fn next_journey(&mut self) -> Option<Journey> {
        if let Some((_, journey)) = self.again.pop_first() {
            return Some(journey);
        }
        let draft = self.next_draft()?;
        let entry = draft.encode(self.seams.group, self.seams.clock.now());
        self.pipeline.begin(entry.kind);
        self.number += 1;
        let (now, wait) = (Instant::now(), self.quorum_wait());
        let deadline = match entry.kind {
            EntryKind::Live => self.outage.deadline(now, wait),
            // These find out whether the outage is over.
            _ => now + wait,
        };
        Some(Journey {
            number: self.number,
            deadline,
            may_be_written: false,
            failure: None,
            entry,
        })
    }

    fn next_draft(&mut self) -> Option<Draft> {
        let options = &self.seams.options;
        if self.pipeline.has_room_for_written(options)
            && let Some(draft) = self.queue.take_written()
        {
            return Some(draft);
        }
        let waits_for_import = self.pipeline.imports > 0 && self.queue.is_import_next();
        if waits_for_import || !self.pipeline.has_room(options) {
            return None;
        }
        self.queue.take_entry(options)
    }

    fn attempt(&mut self, mut journey: Journey, context: &mut Context<Self>) {
        let leader = self.seams.leadership.leader();
        let attempt = self.begin(&mut journey, leader);
        self.pipeline.is_proposing = true;
        let group = self.seams.group;
        let attempting = async move {
            let begun = timeout_at(journey.deadline, attempt).await;
            let message = "there is no room on the way to the leader".to_owned();
            (
                journey,
                begun.unwrap_or(Err(RouteError::Unavailable { group, message })),
            )
        };
        let attempting = attempting.into_actor(self);
        context.spawn(attempting.map(move |(journey, begun), batcher, context| {
            batcher.pipeline.is_proposing = false;
            match begun {
                Ok(proposed) => batcher.follow(journey, leader, proposed, context),
                Err(error) => batcher.failed(journey, leader, error, context),
            }
            batcher.propose_next(context);
        }));
    }

    /// Hands the entry to the leader: here under a stamp, elsewhere as it is.
    fn begin(&mut self, journey: &mut Journey, leader: Leader) -> Attempt {
        let entry = &mut journey.entry;
        match (leader, &self.log) {
            (Leader::Here, Some(log)) => {
                self.stamp = self.next_stamp(log.as_ref());
                let metrics = &self.seams.metrics;
                metrics.proposed(entry.events, entry.bytes.len());
                log.propose(entry.bytes.stamped(self.stamp))
            }
            (Leader::Peer(node), _) if entry.kind.may_travel() => {
                let bytes = entry.bytes.bytes().clone();
                self.seams.link.forward(node, self.seams.group, bytes)
            }
            (leader, _) => {
                let (group, leader) = (self.seams.group, leader.peer());
                ready(Err(RouteError::NotLeader { group, leader })).boxed()
            }
        }
    }

    /// Waits until a quorum holds the entry.
    fn follow(
        &self,
        journey: Journey,
        leader: Leader,
        mut proposed: Box<dyn Proposed>,
        context: &mut Context<Self>,
    ) {
        let (group, begin) = (self.seams.group, self.seams.clock.elapsed());
        let committing = async move {
            let committed = timeout_at(journey.deadline, proposed.committed()).await;
            let message = "no quorum answered in time".to_owned();
            let committed = committed.unwrap_or(Err(RouteError::InDoubt { group, message }));
            (journey, proposed, committed)
        };
        let committing = committing.into_actor(self);
        context.spawn(
            committing.map(move |(journey, proposed, committed), batcher, context| {
                match committed {
                    Ok(()) => batcher.committed(journey, proposed, begin, context),
                    Err(error) => {
                        drop(proposed);
                        batcher.failed(journey, leader, error, context);
                    }
                }
                batcher.propose_next(context);
            }),
        );
    }

    /// A quorum holds the entry: waits for apply's answer.
    fn committed(
        &mut self,
        mut journey: Journey,
        proposed: Box<dyn Proposed>,
        begin: Duration,
        context: &mut Context<Self>,
    ) {
        self.outage.end();
        self.pipeline.settle(journey.entry.kind);
        self.seams.metrics.committed(self.since(begin));
        journey
            .entry
            .waiting
            .answer_committed(&Ok(Durability::Quorum));
        let group = self.seams.group;
        let wait = Duration::from_millis(self.seams.options.applied_wait_ms_max);
        let applying = timeout(wait, proposed.applied()).map(move |applied| {
            let message = "it is committed, but apply did not answer in time".to_owned();
            applied.unwrap_or(Err(RouteError::InDoubt { group, message }))
        });
        let applying = applying.into_actor(self);
        context.spawn(applying.map(move |applied, batcher, context| {
            batcher.seams.metrics.applied(batcher.since(begin));
            batcher.applied(journey, applied, context);
        }));
    }

    fn applied(
        &mut self,
        journey: Journey,
        applied: Result<Bytes, RouteError>,
        context: &mut Context<Self>,
    ) {
        let waiting = journey.entry.waiting;
        match applied {
            Ok(reply) => waiting.answer_applied(reply),
            Err(error) => {
                self.seams.metrics.failed(&error);
                tracing::warn!(group = %self.seams.group, %error, "replicate: an entry is committed, its reply is lost");
                waiting.answer_pending(&error);
            }
        }
        self.finished(context);
    }

    /// An attempt came to nothing, for all this node knows.
    fn failed(
        &mut self,
        mut journey: Journey,
        leader: Leader,
        error: RouteError,
        context: &mut Context<Self>,
    ) {
        journey.may_be_written |= error.may_commit();
        let reason = RetryReason::of(&error);
        if reason.is_some() {
            self.tell_missed(leader, &error);
        }
        let Some(reason) = reason.filter(|_| journey.entry.kind.is_retried()) else {
            self.refuse(journey, error, context);
            return;
        };
        let now = Instant::now();
        let failures = self.outage.failed(journey.entry.kind, now);
        if journey.deadline <= now {
            self.give_up(journey, error, context);
            return;
        }
        self.seams.metrics.retried(reason);
        journey.failure = Some(error);
        self.again.insert(journey.number, journey);
        // A leader that is new since then may be asked at once; nodes that name each other, not for ever.
        if self.seams.leadership.leader() == leader || failures >= HASTE_FAILURES_MAX {
            self.pause(failures, context);
        }
    }

    fn tell_missed(&self, leader: Leader, error: &RouteError) {
        let told = match error {
            RouteError::NotLeader { leader, .. } => *leader,
            _ => None,
        };
        if let Leader::Peer(asked) = leader {
            self.seams.leadership.missed(asked, told);
        }
    }

    /// The entry has waited as long as it may.
    fn give_up(&mut self, journey: Journey, error: RouteError, context: &mut Context<Self>) {
        if journey.entry.kind != EntryKind::Live {
            self.refuse(journey, error, context);
            return;
        }
        let entry = &journey.entry;
        let spooled = SpooledEntry {
            group: self.seams.group,
            received: entry.received,
            events: entry.events,
            bytes: entry.bytes.bytes().clone(),
        };
        let keeping = self.seams.spool.keep(spooled).into_actor(self);
        context.spawn(keeping.map(move |kept, batcher, context| match kept {
            Ok(()) => batcher.spooled(journey, context),
            Err(error) => {
                // Those who come next try the leader: nothing in the spool finds out for them.
                batcher.outage.end();
                batcher.refuse(journey, error, context);
                batcher.propose_next(context);
            }
        }));
    }

    fn spooled(&mut self, mut journey: Journey, context: &mut Context<Self>) {
        self.pipeline.settle(journey.entry.kind);
        let waiting = &mut journey.entry.waiting;
        waiting.answer_committed(&Ok(Durability::Spooled));
        let error = RouteError::Unavailable {
            group: self.seams.group,
            message: "the events are spooled".to_owned(),
        };
        journey.entry.waiting.answer_pending(&error);
        self.finished(context);
    }

    /// Answers an entry's submissions that it did not get through, or that nobody knows.
    fn refuse(&mut self, journey: Journey, error: RouteError, context: &mut Context<Self>) {
        self.pipeline.settle(journey.entry.kind);
        let group = self.seams.group;
        let error = match journey.may_be_written && !error.may_commit() {
            true => RouteError::InDoubt {
                group,
                message: error.to_string(),
            },
            false => error,
        };
        if journey.entry.kind.is_retried() {
            self.seams.metrics.failed(&error);
            tracing::warn!(%group, %error, kind = ?journey.entry.kind, "replicate: an entry is not known to be in the log");
        }
        journey.entry.waiting.refuse(&error);
        self.finished(context);
    }

    fn finished(&mut self, context: &mut Context<Self>) {
        self.pipeline.unapplied -= 1;
        self.propose_next(context);
        self.finish_draining();
    }

    /// Stops the lane for a moment; a change of the leader ends it.
    fn pause(&mut self, failures: u32, context: &mut Context<Self>) {
        if self.pause.is_some() {
            return;
        }
        self.random = retry::scramble(self.random);
        let pause_ms_max = self.seams.options.retry_pause_ms_max;
        let pause = retry::pause(failures, pause_ms_max, self.random);
        self.pause = Some(context.run_later(pause, |batcher, context| {
            batcher.pause = None;
            batcher.propose_next(context);
        }));
    }

    pub(super) fn follow_leader(&self, context: &mut Context<Self>) {
        let leadership = &self.seams.leadership;
        let changed = leadership.changed(leadership.leader()).into_actor(self);
        context.spawn(changed.map(|(), batcher, context| {
            batcher.leader_changed(context);
            batcher.follow_leader(context);
        }));
    }

    pub(super) fn leader_changed(&mut self, context: &mut Context<Self>) {
        self.outage.end();
        if let Some(pause) = self.pause.take() {
            context.cancel_future(pause);
        }
        self.seams.spool.wake();
        self.propose_next(context);
    }

    fn outage_error(&self) -> RouteError {
        RouteError::Unavailable {
            group: self.seams.group,
            message: "there is no quorum for some time".to_owned(),
        }
    }

    fn quorum_wait(&self) -> Duration {
        Duration::from_millis(self.seams.options.quorum_wait_ms_max)
    }

    fn since(&self, begin: Duration) -> Duration {
        self.seams.clock.elapsed().saturating_sub(begin)
    }
}

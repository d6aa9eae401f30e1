//! One site's actor: a state in memory, and one handler for each message.

mod answer;
mod messages;
mod rebuild;

use std::{
    collections::BTreeSet,
    sync::{Arc, atomic::Ordering},
};

use actix::{
    Actor, ActorContext as _, Context, Handler, WrapFuture as _, fut::ActorFutureExt as _,
};
use ringtail_checkpoint::{GroupBatch, GroupStore, SiteReader};
use ringtail_proto::{GroupId, LogIndex, RowWrite, SiteGeneration, SiteRow};

use crate::{
    LogSource, SiteError, SiteMachine,
    entry::{Slice, slices_of},
    lazy_rows::LazyRows,
    notes::{Note, PendingVerdicts},
    partition::Partition,
    site_gauge::SiteGauge,
};
use answer::Answer;
pub(crate) use messages::{Apply, BeginRollUp, Checkpoint, FinishRollUp, Hash, HashAt, Rest, View};
pub use messages::{ViewAt, Written};
use rebuild::Setback;
pub(crate) use rebuild::guard;

/// Entries that a rebuild reads at a time.
const REBUILD_ENTRIES_MAX: u64 = 256;

/// One site. The state is loaded by the first message and lives until the site is put to rest.
pub(crate) struct SiteActor<M: SiteMachine> {
    site: SiteGeneration,
    partition: Arc<Partition<M>>,
    /// The group's rows when the actor was made. Should they be replaced while it still has something to do, the store
    /// takes nothing from it any more.
    rows: Arc<dyn GroupStore>,
    gauge: Arc<SiteGauge>,
    /// None before the first message and after a setback; then it is loaded or rebuilt.
    /// Boxed, so that it need not be movable while the actor is.
    state: Option<Box<M::State>>,
    /// Entries since the last checkpoint that cannot be applied.
    poisoned: BTreeSet<LogIndex>,
    /// Verdicts since the last checkpoint that its note will tell.
    verdicts: PendingVerdicts,
    /// Another one after each batch that changed the site's rows: background work based on older rows is not written,
    /// not even when an actor that began it has been replaced meanwhile.
    revision: u64,
}

impl<M: SiteMachine> Actor for SiteActor<M> {
    type Context = Context<Self>;
}

impl<M: SiteMachine> SiteActor<M> {
    pub(crate) fn new(
        site: SiteGeneration,
        partition: Arc<Partition<M>>,
        gauge: Arc<SiteGauge>,
    ) -> Self {
        Self {
            site,
            revision: partition.next_revision(),
            rows: partition.rows(),
            gauge,
            state: None,
            poisoned: BTreeSet::new(),
            verdicts: PendingVerdicts::default(),
            partition,
        }
    }

    /// Runs a step that must not be repeated once it has begun; before it, when memory is behind, the log is read.
    fn answer<T: 'static>(
        &mut self,
        mut slices: impl FnMut() -> Arc<[Slice]> + 'static,
        finish: impl FnOnce(&mut Self, Vec<u8>) -> Result<T, SiteError> + 'static,
    ) -> Answer<M, Result<T, SiteError>> {
        let (from, to) = match self.run(None, &slices()) {
            Ok(codes) => return Answer::Ready(finish(self, codes)),
            Err(Setback::Failed(error)) => return Answer::Ready(Err(error)),
            Err(Setback::Behind { from, to }) => (from, to),
        };
        let (group, site) = (self.partition.group, self.site);
        tracing::warn!(%group, %site, %from, %to, "aggregate: rebuilding a site from the log");
        let bytes_max = self.partition.options.rebuild_bytes_max;
        let log = self.partition.seams.log.clone();
        let read = read_slices(log, group, site, (from, to), bytes_max);
        let rebuild = read
            .into_actor(self)
            .map(move |older: Result<_, String>, actor, _| {
                let older = older.map_err(|message| SiteError::Log { from, to, message })?;
                match actor.run(Some(&older), &slices()) {
                    Ok(codes) => finish(actor, codes),
                    Err(Setback::Failed(error)) => Err(error),
                    Err(Setback::Behind { from, to }) => Err(SiteError::Log {
                        from,
                        to,
                        message: "the site fell behind while it was rebuilt".to_owned(),
                    }),
                }
            });
        Answer::Later(Box::pin(rebuild))
    }

    /// Runs a step on the present state.
    fn with_state<T: 'static>(
        &mut self,
        step: impl FnOnce(&mut Self) -> Result<T, SiteError> + 'static,
    ) -> Answer<M, Result<T, SiteError>> {
        let none: Arc<[Slice]> = Arc::new([]);
        self.answer(move || none.clone(), move |actor, _| step(actor))
    }

    /// Tells the duties how the state is.
    fn report(&self) {
        let Some(state) = &self.state else { return };
        let partition = &self.partition;
        self.gauge.advance(
            partition.machine.applied(state),
            partition.machine.condition(state),
            partition.now_ms(),
            partition.seams.node_log_bytes.load(Ordering::Relaxed),
        );
    }

    /// Runs a step of the machine on the state. When it fails the state may be half changed, so it is thrown away.
    fn on_state<T>(
        &mut self,
        stage: &'static str,
        step: impl FnOnce(&M, &mut M::State, &LazyRows<'_>) -> Result<T, crate::SiteMachineError>,
    ) -> Result<T, SiteError> {
        let Some(mut state) = self.state.take() else {
            let message = "the site has no state".to_owned();
            return Err(SiteError::Panicked { stage, message });
        };
        let rows = LazyRows::new(&*self.rows, self.site);
        let (result, state) = {
            let result = guard(stage, || step(&self.partition.machine, &mut state, &rows));
            (result, state)
        };
        if result.is_ok() {
            self.state = Some(state);
        }
        result
    }

    fn checkpoint(&mut self) -> Result<Written, SiteError> {
        let dirty = self.gauge.read().dirty_since;
        if dirty.is_none() {
            return Ok(Written::default());
        }
        // Asked first: rows that the store refuses cost the state in memory.
        self.rows.check_room()?;
        let writes = self.on_state("checkpoint", |machine, state, rows| {
            machine.checkpoint(state, rows)
        })?;
        let mut written = Written {
            rows: writes.len(),
            ..Written::default()
        };
        written.has_pages = writes
            .iter()
            .any(|write| matches!(write.row, SiteRow::Page(..)));
        let note = self.verdicts.to_note();
        let machine = &self.partition.machine;
        let index = self.state.as_ref().map(|state| machine.applied(state));
        let row = Note::checkpoint_row(index.unwrap_or_default());
        match self.commit(Some((note, row)), writes) {
            Ok(value_bytes) => written.value_bytes = value_bytes,
            Err(error) => {
                self.state = None;
                return Err(error);
            }
        }
        self.poisoned.clear();
        self.verdicts.clear();
        self.report();
        self.partition
            .counters
            .checkpoints
            .fetch_add(1, Ordering::Relaxed);
        Ok(written)
    }

    /// Writes rows and the note that tells of them.
    fn commit(
        &mut self,
        note: Option<(Note, SiteRow)>,
        writes: Vec<RowWrite>,
    ) -> Result<u64, SiteError> {
        let mut batch = GroupBatch::new();
        if let Some((mut note, row)) = note {
            if self.partition.options.mirrors {
                note.note_changes(self.site, &writes);
            }
            note.write(self.site, row, &mut batch);
        }
        for write in writes {
            batch.write(self.site, write);
        }
        let value_bytes = batch.value_bytes();
        self.rows.commit(batch)?;
        self.revision = self.partition.next_revision();
        self.partition
            .counters
            .value_bytes
            .fetch_add(value_bytes, Ordering::Relaxed);
        Ok(value_bytes)
    }

    fn reader(&self) -> SiteReader {
        let elsewhere = self.partition.node.elsewhere();
        SiteReader::new(self.rows.snapshot(), self.site).resolving(elsewhere)
    }
}

/// Reads a site's slices in entries `from..=to` again, a bounded number of entries and bytes at a time: the log in
/// between is mostly of other sites.
async fn read_slices(
    log: Arc<dyn LogSource>,
    group: GroupId,
    site: SiteGeneration,
    (from, to): (LogIndex, LogIndex),
    bytes_max: u64,
) -> Result<Vec<Slice>, String> {
    let mut slices = Vec::new();
    let mut next = from;
    while next <= to {
        let last = to.min(LogIndex(next.0 + REBUILD_ENTRIES_MAX - 1));
        let entries = log.read(group, next, last, bytes_max).await;
        let entries = entries.map_err(|error| error.to_string())?;
        let indexes = entries.iter().map(|entry| entry.position.index.0);
        if entries.is_empty() || !indexes.eq((next.0..=last.0).take(entries.len())) {
            return Err(format!("entries {next}..={last} are not all there"));
        }
        next = LogIndex(next.0 + entries.len() as u64);
        slices.extend(slices_of(group, site.site, entries).map_err(|error| error.to_string())?);
    }
    Ok(slices)
}

impl<M: SiteMachine> Handler<Apply> for SiteActor<M> {
    type Result = Answer<M, Result<Vec<u8>, SiteError>>;

    fn handle(&mut self, message: Apply, _: &mut Self::Context) -> Self::Result {
        self.gauge.touch(self.partition.now_ms());
        let slices = message.slices;
        self.answer(
            move || slices.clone(),
            |actor, codes| {
                actor.report();
                Ok(codes)
            },
        )
    }
}

impl<M: SiteMachine> Handler<View<M>> for SiteActor<M> {
    type Result = Answer<M, Result<ViewAt<M>, SiteError>>;

    fn handle(&mut self, _: View<M>, _: &mut Self::Context) -> Self::Result {
        self.gauge.touch(self.partition.now_ms());
        self.with_state(|actor| {
            // Read before the state: the site has answered every entry up to here.
            let (applied, stamp) = actor.partition.applied();
            let view = actor.on_state("view", |machine, state, _| {
                Ok((machine.view(state), machine.applied(state)))
            })?;
            Ok(ViewAt {
                view: view.0,
                reader: actor.reader(),
                index: applied.map_or(view.1, |position| position.index.max(view.1)),
                stamp,
            })
        })
    }
}

impl<M: SiteMachine> Handler<Checkpoint> for SiteActor<M> {
    type Result = Answer<M, Result<Written, SiteError>>;

    fn handle(&mut self, _: Checkpoint, _: &mut Self::Context) -> Self::Result {
        self.with_state(Self::checkpoint)
    }
}

impl<M: SiteMachine> Handler<BeginRollUp> for SiteActor<M> {
    type Result = Answer<M, Result<(SiteReader, u64), SiteError>>;

    fn handle(&mut self, _: BeginRollUp, _: &mut Self::Context) -> Self::Result {
        Answer::Ready(Ok((self.reader(), self.revision)))
    }
}

impl<M: SiteMachine> Handler<FinishRollUp> for SiteActor<M> {
    type Result = Answer<M, Result<bool, SiteError>>;

    fn handle(&mut self, message: FinishRollUp, _: &mut Self::Context) -> Self::Result {
        if message.revision != self.revision {
            return Answer::Ready(Ok(false));
        }
        // No note: what is rolled up follows from rows that have their notes.
        let written = self.commit(None, message.writes);
        Answer::Ready(written.map(|_| true))
    }
}

impl<M: SiteMachine> Handler<Rest> for SiteActor<M> {
    type Result = bool;

    fn handle(&mut self, message: Rest, context: &mut Self::Context) -> bool {
        let gauge = self.gauge.read();
        let is_at_rest = gauge.dirty_since.is_none() && gauge.used_at_ms <= message.used_at_ms_max;
        if is_at_rest {
            context.stop();
        }
        is_at_rest
    }
}

impl<M: SiteMachine> Handler<Hash> for SiteActor<M> {
    type Result = Answer<M, Result<HashAt, SiteError>>;

    fn handle(&mut self, _: Hash, _: &mut Self::Context) -> Self::Result {
        self.with_state(|actor| {
            actor.on_state("state_hash", |machine, state, rows| {
                Ok(HashAt {
                    hash: machine.state_hash(state, rows)?,
                    index: machine.applied(state),
                })
            })
        })
    }
}

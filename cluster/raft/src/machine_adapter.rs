//! A machine as openraft's state machine.
//!
//! The machine's data lives in the node's own store, so a snapshot here is virtual: it says up to where the machine is
//! durable, and carries no data. The rows go straight from one machine to the other; see `snapshot`.

use std::io;
use std::sync::Arc;

use crate::blocking::spawn_blocking;
use futures::{Stream, TryStreamExt};
use openraft::storage::{ApplyResponder, EntryResponder, RaftStateMachine};
use openraft::{OptionalSend, RaftSnapshotBuilder};
use parking_lot::Mutex;
use ringtail_log::GroupLog;

use crate::applied_state::AppliedState;
use crate::convert;
use crate::error::RaftError;
use crate::machine::{Committed, Machine, MachineError};
use crate::snapshot::{SnapshotData, StagedFile, Staging, follow_at_start, purge_durably};
use crate::types::{LogId, Reply, Snapshot, SnapshotMeta, StoredMembership, TypeConfig};

/// Entries handed to the machine at once.
const APPLY_ENTRIES_MAX: usize = 256;
/// No further entry is added to a batch of this many bytes: what lies in memory while a long log is replayed.
const APPLY_BYTES_MAX: usize = 8 << 20;

/// A machine as openraft's state machine. Clones share the machine.
#[derive(Clone)]
pub(crate) struct MachineAdapter {
    log: GroupLog,
    machine: Arc<dyn Machine>,
    state: Arc<Mutex<AppliedState>>,
    staging: Option<Staging>,
}

type Batch = (Vec<Committed>, Vec<Option<ApplyResponder<TypeConfig>>>);

impl MachineAdapter {
    /// Asks the machine for its floor. A snapshot that had arrived when the process ended is taken over first.
    pub(crate) async fn open(
        log: GroupLog,
        machine: Arc<dyn Machine>,
        staging: Option<Staging>,
    ) -> Result<Self, RaftError> {
        let group = log.group();
        let failed = |source| RaftError::Machine { group, source };
        let floor = machine.floor().await.map_err(failed)?;
        let membership = match &floor.membership {
            Some(bytes) => Some(convert::membership(bytes)?),
            None => None,
        };
        let state = AppliedState::new(floor.position.map(convert::position_log_id), membership);
        let adapter = Self {
            log,
            machine,
            state: Arc::new(Mutex::new(state)),
            staging,
        };
        adapter.install_leftover().await.map_err(failed)?;
        Ok(adapter)
    }

    /// The process may have ended before the rows were all replaced, or before the log had taken note of it.
    async fn install_leftover(&self) -> Result<(), MachineError> {
        let Some(staging) = &self.staging else {
            return Ok(());
        };
        let leftover = staging.leftover(self.log.group()).await;
        let Some(file) = leftover.map_err(MachineError::new)? else {
            return Ok(());
        };
        let meta = convert::snapshot_meta(file.meta()).map_err(MachineError::new)?;
        let applied = self.state.lock().applied();
        if meta.last_log_id > applied {
            tracing::info!(group = %self.log.group(), ?meta, "a snapshot that arrived before the restart is taken over");
            self.install(&meta, &file).await?;
        }
        if let Some(last) = meta.last_log_id
            && Some(last) >= applied
        {
            let followed = follow_at_start(&self.log, last).await;
            followed.map_err(MachineError::new)?;
        }
        staging.forget(&file).await.map_err(MachineError::new)
    }

    /// Puts the rows of a file in the place of the machine's.
    async fn install(
        &self,
        meta: &SnapshotMeta,
        file: &Arc<StagedFile>,
    ) -> Result<(), MachineError> {
        let last = meta.last_log_id;
        let last = last.ok_or_else(|| MachineError::new("the snapshot is of nothing"))?;
        let mut sink = self.machine.receive_snapshot().await?;
        let mut offset = file.parts_at();
        loop {
            let reading = file.clone();
            let read = spawn_blocking(move || reading.part_at(offset)).await;
            match read
                .map_err(MachineError::new)?
                .map_err(MachineError::new)?
            {
                Some((part, next)) => {
                    sink.put(part).await?;
                    offset = next;
                }
                None => break,
            }
        }
        let floor = sink.finish().await?;
        if floor.position.map(convert::position_log_id) != Some(last) {
            let text = format!(
                "the snapshot says {last}, its rows say {:?}",
                floor.position
            );
            return Err(MachineError::new(text));
        }
        self.state
            .lock()
            .replace(last, meta.last_membership.clone());
        Ok(())
    }

    pub(crate) fn state(&self) -> &Arc<Mutex<AppliedState>> {
        &self.state
    }

    async fn apply_batch(&self, batch: Batch) -> Result<(), RaftError> {
        let (entries, responders) = batch;
        let Some(last) = entries.last().map(|entry| entry.position) else {
            return Ok(());
        };
        let expected = entries.len();
        let group = self.log.group();
        let handed_over = HandedOver::new(&self.state, convert::position_log_id(last));
        let replies = self
            .machine
            .apply(entries)
            .await
            .map_err(|source| RaftError::Machine { group, source })?;
        if replies.len() != expected {
            let text = format!("gave {} replies to {expected} entries", replies.len());
            let source = crate::machine::MachineError::new(text);
            return Err(RaftError::Machine { group, source });
        }
        handed_over.advance();
        for (responder, reply) in responders.into_iter().zip(replies) {
            if let Some(responder) = responder {
                responder.send(Reply(reply));
            }
        }
        Ok(())
    }
}

impl RaftStateMachine<TypeConfig> for MachineAdapter {
    type SnapshotData = SnapshotData;
    type SnapshotBuilder = FloorSnapshot;

    async fn applied_state(&mut self) -> io::Result<(Option<LogId>, StoredMembership)> {
        let state = self.state.lock();
        Ok((state.applied(), state.membership()))
    }

    async fn apply<Strm>(&mut self, mut entries: Strm) -> io::Result<()>
    where
        Strm: Stream<Item = io::Result<EntryResponder<TypeConfig>>> + Unpin + OptionalSend,
    {
        let mut batch = Batch::default();
        let mut batch_bytes = 0;
        while let Some((entry, responder)) = entries.try_next().await? {
            let position = convert::position(&entry.log_id);
            let (body, membership) = convert::body(entry).map_err(io::Error::other)?;
            if let Some(membership) = membership {
                self.state.lock().note_membership(membership);
            }
            batch_bytes += body.bytes();
            batch.0.push(Committed { position, body });
            batch.1.push(responder);
            if batch.0.len() >= APPLY_ENTRIES_MAX || batch_bytes >= APPLY_BYTES_MAX {
                batch_bytes = 0;
                let full = std::mem::take(&mut batch);
                self.apply_batch(full).await.map_err(io::Error::other)?;
            }
        }
        self.apply_batch(batch).await.map_err(io::Error::other)
    }

    /// `None` while the machine has nothing durable: there is nothing to snapshot then, and nothing to purge.
    async fn try_create_snapshot_builder(&mut self, force: bool) -> Option<FloorSnapshot> {
        let has_floor = self.state.lock().floor().is_some();
        (has_floor || force).then(|| self.builder())
    }

    async fn get_snapshot_builder(&mut self) -> FloorSnapshot {
        self.builder()
    }

    /// A snapshot at or below what is applied changes nothing.
    async fn install_snapshot(
        &mut self,
        meta: &SnapshotMeta,
        snapshot: SnapshotData,
    ) -> io::Result<()> {
        let SnapshotData::Received(file) = snapshot else {
            return Err(io::Error::other(
                "only a received snapshot can be taken over",
            ));
        };
        if let Some(last) = meta.last_log_id
            && Some(last) > self.state.lock().applied()
        {
            self.install(meta, &file).await.map_err(io::Error::other)?;
            let noted = purge_durably(&self.log, last).await;
            noted.map_err(io::Error::other)?;
            let group = self.log.group();
            tracing::info!(%group, ?meta, "snapshot taken over");
        }
        match &self.staging {
            Some(staging) => staging.forget(&file).await,
            None => Ok(()),
        }
    }

    async fn get_current_snapshot(&mut self) -> io::Result<Option<Snapshot>> {
        let meta = self.state.lock().floor_meta();
        Ok(meta.map(|meta| Snapshot {
            meta,
            snapshot: SnapshotData::Here(self.machine.clone()),
        }))
    }
}

impl MachineAdapter {
    fn builder(&self) -> FloorSnapshot {
        FloorSnapshot {
            state: self.state.clone(),
            machine: self.machine.clone(),
        }
    }
}

/// Entries that the machine is applying; taken back unless it has answered, whether it failed or was given up.
struct HandedOver<'a> {
    state: &'a Mutex<AppliedState>,
    last: LogId,
}

impl<'a> HandedOver<'a> {
    fn new(state: &'a Mutex<AppliedState>, last: LogId) -> Self {
        state.lock().hand_over(last);
        Self { state, last }
    }

    fn advance(self) {
        self.state.lock().advance(self.last);
    }
}

impl Drop for HandedOver<'_> {
    fn drop(&mut self) {
        let mut state = self.state.lock();
        if state.applied() < Some(self.last) {
            state.take_back();
        }
    }
}

/// Builds the virtual snapshot at the floor.
pub(crate) struct FloorSnapshot {
    state: Arc<Mutex<AppliedState>>,
    machine: Arc<dyn Machine>,
}

impl RaftSnapshotBuilder<TypeConfig> for FloorSnapshot {
    type SnapshotData = SnapshotData;

    async fn build_snapshot(&mut self) -> io::Result<Snapshot> {
        let meta = self.state.lock().floor_meta();
        let meta = meta.ok_or_else(|| io::Error::other("nothing is durable yet"))?;
        Ok(Snapshot {
            meta,
            snapshot: SnapshotData::Here(self.machine.clone()),
        })
    }
}

#[cfg(test)]
mod tests;

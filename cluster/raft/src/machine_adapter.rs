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
use ringtail_proto::GroupId;

use crate::applied_state::AppliedState;
use crate::convert;
use crate::error::RaftError;
use crate::machine::{Committed, Machine, MachineError};
use crate::snapshot::{SnapshotData, StagedFile, Staging};
use crate::types::{LogId, Reply, Snapshot, SnapshotMeta, StoredMembership, TypeConfig};

/// Entries handed to the machine at once.
const APPLY_ENTRIES_MAX: usize = 256;
/// No further entry is added to a batch of this many bytes: what lies in memory while a long log is replayed.
const APPLY_BYTES_MAX: usize = 8 << 20;

/// A machine as openraft's state machine. Clones share the machine.
#[derive(Clone)]
pub(crate) struct MachineAdapter {
    group: GroupId,
    machine: Arc<dyn Machine>,
    state: Arc<Mutex<AppliedState>>,
    staging: Option<Staging>,
    is_restored: bool,
}

type Batch = (Vec<Committed>, Vec<Option<ApplyResponder<TypeConfig>>>);

impl MachineAdapter {
    /// Asks the machine for its floor. A snapshot that had arrived when the process ended is taken over first.
    pub(crate) async fn open(
        group: GroupId,
        machine: Arc<dyn Machine>,
        staging: Option<Staging>,
    ) -> Result<Self, RaftError> {
        let failed = |source| RaftError::Machine { group, source };
        let floor = machine.floor().await.map_err(failed)?;
        let membership = match &floor.membership {
            Some(bytes) => Some(convert::membership(bytes)?),
            None => None,
        };
        let state = AppliedState::new(floor.position.map(convert::position_log_id), membership);
        let mut adapter = Self {
            group,
            machine,
            state: Arc::new(Mutex::new(state)),
            staging,
            is_restored: false,
        };
        adapter.is_restored = adapter.install_leftover().await.map_err(failed)?;
        Ok(adapter)
    }

    /// True when a snapshot was taken over at the start, so that the log may not know of it yet.
    pub(crate) fn is_restored(&self) -> bool {
        self.is_restored
    }

    async fn install_leftover(&self) -> Result<bool, MachineError> {
        let Some(staging) = &self.staging else {
            return Ok(false);
        };
        let leftover = staging.leftover(self.group).await;
        let Some(file) = leftover.map_err(MachineError::new)? else {
            return Ok(false);
        };
        let meta = convert::snapshot_meta(file.meta()).map_err(MachineError::new)?;
        let is_news = meta.last_log_id > self.state.lock().applied();
        if is_news {
            tracing::info!(group = %self.group, ?meta, "a snapshot that arrived before the restart is taken over");
            self.install(&meta, &file).await?;
        }
        staging.forget(&file).await.map_err(MachineError::new)?;
        Ok(is_news)
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
        let group = self.group;
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
        if meta.last_log_id > self.state.lock().applied() {
            self.install(meta, &file).await.map_err(io::Error::other)?;
            let group = self.group;
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
mod tests {
    use async_trait::async_trait;
    use bytes::Bytes;
    use openraft::{Entry, EntryPayload};

    use super::*;
    use crate::machine::{Floor, MachineError};
    use crate::snapshot::{SnapshotSink, SnapshotSource};
    use crate::types::{Command, LeaderId};

    /// Remembers how many entries came at once.
    #[derive(Default)]
    struct Batches(Mutex<Vec<usize>>);

    #[async_trait]
    impl Machine for Batches {
        async fn floor(&self) -> Result<Floor, MachineError> {
            Ok(Floor::default())
        }

        async fn apply(&self, entries: Vec<Committed>) -> Result<Vec<Bytes>, MachineError> {
            self.0.lock().push(entries.len());
            Ok(vec![Bytes::new(); entries.len()])
        }

        async fn snapshot(&self) -> Result<(Floor, Box<dyn SnapshotSource>), MachineError> {
            Err(MachineError::new("it has nothing durable"))
        }

        async fn receive_snapshot(&self) -> Result<Box<dyn SnapshotSink>, MachineError> {
            Err(MachineError::new("it keeps nothing"))
        }
    }

    async fn batches_of(sizes: Vec<usize>) -> Vec<usize> {
        let machine = Arc::new(Batches::default());
        let mut adapter = MachineAdapter::open(GroupId(1), machine.clone(), None)
            .await
            .expect("it has no floor");
        let entries = (1..).zip(sizes).map(|(index, size)| {
            let leader = LeaderId {
                term: 1,
                node_id: 1,
            };
            let entry = Entry {
                log_id: LogId::new(leader, index),
                payload: EntryPayload::Normal(Command(Bytes::from(vec![0; size]))),
            };
            Ok((entry, None))
        });
        let applied = adapter.apply(futures::stream::iter(entries)).await;
        applied.expect("the machine takes everything");
        let batches = machine.0.lock();
        batches.clone()
    }

    #[tokio::test]
    async fn a_batch_ends_after_so_many_entries_or_so_many_bytes() {
        assert_eq!(batches_of(vec![1; 600]).await, [256, 256, 88]);
        let large = APPLY_BYTES_MAX / 4;
        assert_eq!(batches_of(vec![large; 10]).await, [4, 4, 2]);
        assert_eq!(batches_of(vec![1, APPLY_BYTES_MAX, 1]).await, [2, 1]);
    }
}

//! A machine as openraft's state machine.
//!
//! The machine's data lives in the node's own store, so a snapshot here is virtual: it says up to where the machine is
//! durable, and carries no data. Handing the data itself to a peer is the transport's part, when there are peers.

use std::io;
use std::sync::Arc;

use bytes::Bytes;
use futures::{Stream, TryStreamExt};
use openraft::storage::{ApplyResponder, EntryResponder, RaftStateMachine};
use openraft::{OptionalSend, RaftSnapshotBuilder};
use parking_lot::Mutex;
use ringtail_proto::GroupId;

use crate::applied_state::AppliedState;
use crate::convert;
use crate::error::RaftError;
use crate::machine::{Committed, Machine};
use crate::types::{LogId, Reply, Snapshot, SnapshotMeta, StoredMembership, TypeConfig};

/// Entries handed to the machine at once.
const APPLY_ENTRIES_MAX: usize = 256;

/// A machine as openraft's state machine. Clones share the machine.
#[derive(Clone)]
pub(crate) struct MachineAdapter {
    group: GroupId,
    machine: Arc<dyn Machine>,
    state: Arc<Mutex<AppliedState>>,
}

type Batch = (Vec<Committed>, Vec<Option<ApplyResponder<TypeConfig>>>);

impl MachineAdapter {
    /// Asks the machine for its floor.
    pub(crate) async fn open(group: GroupId, machine: Arc<dyn Machine>) -> Result<Self, RaftError> {
        let floor = machine
            .floor()
            .await
            .map_err(|source| RaftError::Machine { group, source })?;
        let membership = match &floor.membership {
            Some(bytes) => Some(convert::membership(bytes)?),
            None => None,
        };
        let state = AppliedState::new(floor.position.map(convert::position_log_id), membership);
        Ok(Self {
            group,
            machine,
            state: Arc::new(Mutex::new(state)),
        })
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
        self.state.lock().advance(convert::position_log_id(last));
        for (responder, reply) in responders.into_iter().zip(replies) {
            if let Some(responder) = responder {
                responder.send(Reply(reply));
            }
        }
        Ok(())
    }
}

impl RaftStateMachine<TypeConfig> for MachineAdapter {
    type SnapshotData = Bytes;
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
        while let Some((entry, responder)) = entries.try_next().await? {
            let position = convert::position(&entry.log_id);
            let (body, membership) = convert::body(entry).map_err(io::Error::other)?;
            if let Some(membership) = membership {
                self.state.lock().note_membership(membership);
            }
            batch.0.push(Committed { position, body });
            batch.1.push(responder);
            if batch.0.len() >= APPLY_ENTRIES_MAX {
                let full = std::mem::take(&mut batch);
                self.apply_batch(full).await.map_err(io::Error::other)?;
            }
        }
        self.apply_batch(batch).await.map_err(io::Error::other)
    }

    /// `None` while the machine has nothing durable: there is nothing to snapshot then, and nothing to purge.
    async fn try_create_snapshot_builder(&mut self, force: bool) -> Option<FloorSnapshot> {
        let has_floor = self.state.lock().floor().is_some();
        (has_floor || force).then(|| FloorSnapshot(self.state.clone()))
    }

    async fn get_snapshot_builder(&mut self) -> FloorSnapshot {
        FloorSnapshot(self.state.clone())
    }

    /// A snapshot at or below the floor changes nothing. One above it would need the data of the machine that made it.
    async fn install_snapshot(&mut self, meta: &SnapshotMeta, _token: Bytes) -> io::Result<()> {
        if meta.last_log_id <= self.state.lock().applied() {
            return Ok(());
        }
        Err(io::Error::new(
            io::ErrorKind::Unsupported,
            "this version does not take over a peer's state",
        ))
    }

    async fn get_current_snapshot(&mut self) -> io::Result<Option<Snapshot>> {
        let meta = self.state.lock().floor_meta();
        Ok(meta.map(|meta| Snapshot {
            meta,
            snapshot: Bytes::new(),
        }))
    }
}

/// Builds the virtual snapshot at the floor.
pub(crate) struct FloorSnapshot(Arc<Mutex<AppliedState>>);

impl RaftSnapshotBuilder<TypeConfig> for FloorSnapshot {
    type SnapshotData = Bytes;

    async fn build_snapshot(&mut self) -> io::Result<Snapshot> {
        let meta = self.0.lock().floor_meta();
        let meta = meta.ok_or_else(|| io::Error::other("nothing is durable yet"))?;
        Ok(Snapshot {
            meta,
            snapshot: Bytes::new(),
        })
    }
}

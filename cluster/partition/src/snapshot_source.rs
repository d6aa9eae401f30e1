//! A group's rows on their way to a peer.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use bytes::Bytes;
use ringtail_checkpoint::{GroupSnapshot, RawRow};
use ringtail_raft::spawn_blocking;
use ringtail_raft::{MachineError, SNAPSHOT_PART_BYTES_MAX, SnapshotPart, SnapshotSource};

use crate::{Clock, node_state::NodeState, snapshot_row::piece_key};

/// Reads a snapshot of the store in the order of its keys, no faster than the node may send.
pub(crate) struct StoreSource {
    snapshot: Arc<dyn GroupSnapshot>,
    node: Arc<NodeState>,
    clock: Arc<dyn Clock>,
    /// The last row's key.
    last: Option<Bytes>,
    /// What the last row's value has beyond what was sent, and the number of its next piece.
    rest: Bytes,
    next_piece: u32,
    pause: Duration,
}

impl StoreSource {
    pub(crate) fn new(
        snapshot: Arc<dyn GroupSnapshot>,
        node: Arc<NodeState>,
        clock: Arc<dyn Clock>,
    ) -> Self {
        Self {
            snapshot,
            node,
            clock,
            last: None,
            rest: Bytes::new(),
            next_piece: 1,
            pause: Duration::ZERO,
        }
    }

    async fn next_rows(&mut self) -> Result<Vec<RawRow>, MachineError> {
        if let (Some(last), false) = (&self.last, self.rest.is_empty()) {
            let key = piece_key(last, self.next_piece);
            self.next_piece += 1;
            return Ok(vec![(key.clone(), self.cut(&key))]);
        }
        let (snapshot, last) = (self.snapshot.clone(), self.last.clone());
        let bytes_max = SNAPSHOT_PART_BYTES_MAX as u64;
        let read = spawn_blocking(move || snapshot.rows_after(last.as_deref(), bytes_max)).await;
        let mut rows = read
            .map_err(MachineError::new)?
            .map_err(MachineError::new)?;
        if let Some((key, value)) = rows.last_mut() {
            self.last = Some(key.clone());
            // Rows that come together fit; only one that stands alone may be too large.
            if key.len() + value.len() > SNAPSHOT_PART_BYTES_MAX {
                self.rest = std::mem::take(value);
                self.next_piece = 1;
                *value = self.cut(key);
            }
        }
        Ok(rows)
    }

    /// As much of the rest as goes into a part together with the key.
    fn cut(&mut self, key: &[u8]) -> Bytes {
        let room = SNAPSHOT_PART_BYTES_MAX.saturating_sub(key.len());
        self.rest.split_to(self.rest.len().min(room))
    }
}

#[async_trait]
impl SnapshotSource for StoreSource {
    async fn next(&mut self) -> Result<Option<SnapshotPart>, MachineError> {
        if !self.pause.is_zero() {
            self.clock.sleep(std::mem::take(&mut self.pause)).await;
        }
        let rows = self.next_rows().await?;
        if rows.is_empty() {
            return Ok(None);
        }
        let bytes = rows.iter().map(|(key, value)| key.len() + value.len());
        let bytes = bytes.sum::<usize>() as u64;
        self.pause = self.node.pace.spend(self.clock.monotonic_ms(), bytes);
        metrics::counter!("ringtail_replicate_snapshot_sent_bytes_total").increment(bytes);
        Ok(Some(SnapshotPart { rows }))
    }
}

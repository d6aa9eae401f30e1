//! The group's log as the partition needs it beside apply.

use std::sync::Arc;

use async_trait::async_trait;
use ringtail_log::SegmentLog;
use ringtail_proto::{GroupId, LogIndex};
use ringtail_raft::{Committed, Group, LogPosition, MachineError, read_entries};

/// Reads committed entries again, to rebuild a site whose state in memory was lost.
#[async_trait]
pub trait LogSource: Send + Sync + 'static {
    /// The entries of a group from `from` on without a gap: up to `to`, or fewer when they have more than `bytes_max`
    /// bytes, but at least one.
    ///
    /// # Errors
    /// When one of them is not in the log any more or cannot be read.
    async fn read(
        &self,
        group: GroupId,
        from: LogIndex,
        to: LogIndex,
        bytes_max: u64,
    ) -> Result<Vec<Committed>, MachineError>;
}

/// The node's log, which holds the entries of every group.
pub struct SharedLog(pub Arc<SegmentLog>);

#[async_trait]
impl LogSource for SharedLog {
    async fn read(
        &self,
        group: GroupId,
        from: LogIndex,
        to: LogIndex,
        bytes_max: u64,
    ) -> Result<Vec<Committed>, MachineError> {
        let entries = read_entries(&self.0, group, from, to, bytes_max)
            .await
            .map_err(MachineError::new)?;
        let first = entries.first().map(|entry| entry.position.index);
        if first == Some(from) {
            return Ok(entries);
        }
        Err(MachineError::new(format!(
            "entry {from} of group {group} is not in the log, it is purged"
        )))
    }
}

/// Takes word of a floor: the log below it may go.
#[async_trait]
pub trait FloorSink: Send + Sync + 'static {
    /// State up to and including this entry is durable.
    ///
    /// # Errors
    /// When the group has stopped.
    async fn raise_floor(&self, floor: LogPosition) -> Result<(), MachineError>;
}

#[async_trait]
impl FloorSink for Group {
    async fn raise_floor(&self, floor: LogPosition) -> Result<(), MachineError> {
        Self::raise_floor(self, floor)
            .await
            .map_err(MachineError::new)
    }
}

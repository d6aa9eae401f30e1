//! The group's log as the partition needs it beside apply.

use async_trait::async_trait;
use ringtail_proto::{GroupId, LogIndex};
use ringtail_raft::{Committed, Group, LogPosition, MachineError};

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

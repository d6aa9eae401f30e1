//! The group's log as the partition needs it beside apply.

use async_trait::async_trait;
use ringtail_proto::{GroupId, LogIndex};
use ringtail_raft::{Committed, Group, LogPosition, MachineError};

/// Reads committed entries again, to rebuild a site whose state in memory was lost.
#[async_trait]
pub trait LogSource: Send + Sync + 'static {
    /// The entries `from..=to` of a group, all of them.
    ///
    /// # Errors
    /// When one of them is not in the log any more or cannot be read.
    async fn read(
        &self,
        group: GroupId,
        from: LogIndex,
        to: LogIndex,
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

//! The shared log as the partitions and the lookup of events read it.

use std::sync::Arc;

use async_trait::async_trait;
use ringtail_log::SegmentLog;
use ringtail_partition::LogSource;
use ringtail_proto::{GroupId, LogIndex};
use ringtail_raft::{Committed, MachineError, read_entries};

/// Reads committed entries from the node's log.
pub(crate) struct SharedLog(pub(crate) Arc<SegmentLog>);

#[async_trait]
impl LogSource for SharedLog {
    async fn read(
        &self,
        group: GroupId,
        from: LogIndex,
        to: LogIndex,
    ) -> Result<Vec<Committed>, MachineError> {
        let entries = read_entries(&self.0, group, from, to)
            .await
            .map_err(MachineError::new)?;
        let expected = to.0.saturating_sub(from.0) + 1;
        if entries.len() as u64 == expected {
            return Ok(entries);
        }
        Err(MachineError::new(format!(
            "group {group} has {} of the entries {from} to {to}, the others are purged",
            entries.len()
        )))
    }
}

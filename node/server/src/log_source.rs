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

//! Reads a group's entries again, beside apply.

use crate::blocking::spawn_blocking;
use ringtail_log::SegmentLog;
use ringtail_proto::{GroupId, LogIndex};
use std::sync::Arc;

use crate::convert;
use crate::error::RaftError;
use crate::machine::{Committed, LogPosition};
use ringtail_log::LogError;

/// The entries `from..=to` of a group, as its machine was given them; fewer when some are purged or not there yet, or
/// when they have more than `bytes_max` bytes. At least one if there is any.
///
/// Ask only for entries that are committed: others may be replaced.
///
/// # Errors
/// When the log cannot be read, or holds what this binary does not understand.
pub async fn read_entries(
    log: &Arc<SegmentLog>,
    group: GroupId,
    from: LogIndex,
    to: LogIndex,
    bytes_max: u64,
) -> Result<Vec<Committed>, RaftError> {
    let log = log.group(group);
    let end = LogIndex(to.0.saturating_add(1));
    let stored = spawn_blocking(move || log.read(from, end, bytes_max))
        .await
        .map_err(|_| RaftError::Log(LogError::Closed))??;
    stored
        .into_iter()
        .map(|stored| {
            let entry = convert::entry(stored)?;
            let position: LogPosition = convert::position(&entry.log_id);
            let (body, _) = convert::body(entry)?;
            Ok(Committed { position, body })
        })
        .collect()
}

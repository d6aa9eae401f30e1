//! How the log follows a snapshot whose rows are in the machine.

use ringtail_log::GroupLog;
use ringtail_proto::LogIndex;

use crate::convert;
use crate::error::RaftError;
use crate::log_store::durably;
use crate::types::LogId;

/// The log goes on behind the snapshot: what is not known to lead up to it goes. For a group that is not open yet; while
/// it is, openraft truncates.
pub(crate) async fn follow_at_start(log: &GroupLog, last: LogId) -> Result<(), RaftError> {
    let index = LogIndex(last.index);
    if log.purged().is_some_and(|purged| purged.index >= index) {
        return Ok(());
    }
    let reaches = log.last().is_some_and(|last| last.index >= index);
    if reaches {
        let held = log.read(index, LogIndex(last.index + 1), u64::MAX)?;
        let agrees = held
            .first()
            .is_some_and(|entry| convert::log_id(entry.position) == last);
        if !agrees {
            log.truncate_after(log.committed().map(|committed| committed.index))?;
        }
    }
    purge_durably(log, last).await
}

/// Without this on the disk the log seems to have lost what the machine holds.
pub(crate) async fn purge_durably(log: &GroupLog, last: LogId) -> Result<(), RaftError> {
    let upto = convert::stored_position(&last);
    Ok(durably(|on_durable| log.purge_durably(upto, on_durable)).await?)
}

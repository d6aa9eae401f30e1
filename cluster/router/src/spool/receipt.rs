//! What an entry needs to mean the same hours later.

use bytes::Bytes;
use ringtail_proto::{
    UnixMillis,
    stored::{EntryError, PartitionEntry, partition_entry::Body},
};

/// Client times further ahead of the receipt become the receipt, as apply has it with the stamp.
const AHEAD_MS_MAX: i64 = 60_000;

/// Gives events without a time, or with one that lies ahead, the time of their receipt: the stamp, by which apply would
/// decide, will be that of a later hour.
pub(crate) fn settle_times(entry: Bytes, received: UnixMillis) -> Result<Bytes, EntryError> {
    let mut entry = PartitionEntry::from_log(entry)?;
    if let Some(Body::Events(batch)) = &mut entry.body {
        let ahead = received.0.saturating_add(AHEAD_MS_MAX);
        for event in batch.sites.iter_mut().flat_map(|site| &mut site.events) {
            if event.time_ms == 0 || event.time_ms > ahead {
                event.time_ms = received.0;
            }
        }
    }
    Ok(entry.to_log())
}

#[cfg(test)]
mod tests {
    use ringtail_proto::stored::{EventBatch, SiteEvents, StoredEvent};

    use super::*;

    #[test]
    fn events_keep_the_time_of_their_receipt() {
        let entry = |times: &[i64]| {
            let events = times.iter().map(|time_ms| StoredEvent {
                time_ms: *time_ms,
                ..StoredEvent::default()
            });
            let sites = vec![SiteEvents {
                events: events.collect(),
                ..SiteEvents::default()
            }];
            let body = Body::Events(EventBatch {
                sites,
                ..EventBatch::default()
            });
            PartitionEntry {
                stamp_ms: 0,
                body: Some(body),
            }
            .to_log()
        };
        let settled = settle_times(
            entry(&[0, 5, 100_000, 160_000, 160_001]),
            UnixMillis(100_000),
        );
        assert_eq!(settled, Ok(entry(&[100_000, 5, 100_000, 160_000, 100_000])));
        assert!(settle_times(Bytes::from_static(b"\x01\xff"), UnixMillis(1)).is_err());
    }
}

//! Counts what clients are told about their events.

use ringtail_proto::Verdict;

/// Counts verdicts by their codes.
pub(crate) fn count_verdicts(codes: &[u8]) {
    let (mut accepted, mut late, mut duplicate) = (0_u64, 0_u64, 0_u64);
    for verdict in codes.iter().filter_map(|code| Verdict::from_code(*code)) {
        match verdict {
            Verdict::Accepted => accepted += 1,
            Verdict::Late => late += 1,
            Verdict::Duplicate => duplicate += 1,
            Verdict::Dropped(reason) => {
                metrics::counter!("ringtail_aggregate_events", "verdict" => "dropped", "reason" => reason.name())
                    .increment(1);
            }
        }
    }
    for (verdict, events) in [
        ("accepted", accepted),
        ("late", late),
        ("duplicate", duplicate),
    ] {
        if events > 0 {
            metrics::counter!("ringtail_aggregate_events", "verdict" => verdict).increment(events);
        }
    }
}

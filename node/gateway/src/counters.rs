//! The counters of this stage. Their handles are made once: a look-up by name would cost more than the count.

use metrics::{Counter, counter, describe_counter};
use ringtail_proto::DropReason;

pub(crate) struct Counters {
    dropped: Vec<Counter>,
    stored_drops_shed: Counter,
    refused: Vec<(&'static str, Counter)>,
    pub(crate) hits: DialectCounters,
}

/// Events understood, by the interface that they came through.
pub(crate) struct DialectCounters {
    pub(crate) plausible: Counter,
    pub(crate) events: Counter,
    pub(crate) pixel: Counter,
    pub(crate) grpc: Counter,
    pub(crate) access_log: Counter,
}

const REFUSALS: [&str; 12] = [
    "invalid_request",
    "unauthenticated",
    "forbidden",
    "not_found",
    "conflict",
    "too_large",
    "rate_limited",
    "overloaded",
    "storage_full",
    "unavailable",
    "in_doubt",
    "internal",
];

impl Counters {
    pub(crate) fn new() -> Self {
        describe_counter!(
            "ringtail_enrich_dropped_total",
            "Events not counted, by reason"
        );
        describe_counter!(
            "ringtail_collect_events_total",
            "Events understood, by interface"
        );
        describe_counter!(
            "ringtail_collect_refused_total",
            "Requests refused as a whole, by kind of error"
        );
        describe_counter!(
            "ringtail_enrich_stored_drops_shed_total",
            "Dropped events over the budget of those that are stored for repair"
        );
        let hits = |dialect: &'static str| counter!("ringtail_collect_events_total", "interface" => dialect);
        Self {
            dropped: DropReason::ALL
                .iter()
                .map(|reason| counter!("ringtail_enrich_dropped_total", "reason" => reason.name()))
                .collect(),
            stored_drops_shed: counter!("ringtail_enrich_stored_drops_shed_total"),
            refused: REFUSALS
                .iter()
                .map(|kind| {
                    (
                        *kind,
                        counter!("ringtail_collect_refused_total", "kind" => *kind),
                    )
                })
                .collect(),
            hits: DialectCounters {
                plausible: hits("plausible"),
                events: hits("events"),
                pixel: hits("pixel"),
                grpc: hits("grpc"),
                access_log: hits("access_log"),
            },
        }
    }

    pub(crate) fn dropped(&self, reason: DropReason, events: u64) {
        // Codes begin at 1 and have no gaps; the test below holds that.
        let position = usize::from(reason.code()).wrapping_sub(1);
        if let Some(counter) = self.dropped.get(position) {
            counter.increment(events);
        }
    }

    pub(crate) fn stored_drop_shed(&self) {
        self.stored_drops_shed.increment(1);
    }

    pub(crate) fn refused(&self, kind: ringtail_proto::ErrorKind) {
        if let Some((_, counter)) = self.refused.iter().find(|(name, _)| *name == kind.name()) {
            counter.increment(1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_has_the_counter_at_its_code() {
        for (position, reason) in DropReason::ALL.iter().enumerate() {
            assert_eq!(usize::from(reason.code()), position + 1, "{reason}");
        }
    }
}

//! What the stages *route* and *replicate* tell about themselves. No metric names a site.

use std::time::Duration;

use metrics::{Counter, Gauge, Histogram, counter, gauge, histogram};

use crate::{RouteError, retry::RetryReason};

/// Metrics of submission, shared by all groups.
pub(crate) struct RouteMetrics {
    submissions: Counter,
    events: Counter,
    bytes_in_flight: Gauge,
}

impl RouteMetrics {
    pub(crate) fn new() -> Self {
        Self {
            submissions: counter!("ringtail_route_submissions_total"),
            events: counter!("ringtail_route_events_total"),
            bytes_in_flight: gauge!("ringtail_route_in_flight_bytes"),
        }
    }

    pub(crate) fn submitted(&self, events: usize, bytes_in_flight: usize) {
        self.submissions.increment(1);
        self.events.increment(events as u64);
        self.bytes_in_flight.set(bytes_in_flight as f64);
    }

    pub(crate) fn refused(&self, error: &RouteError) {
        counter!("ringtail_route_refused_total", "kind" => error.kind().name()).increment(1);
    }
}

/// Metrics of the entries of all groups.
pub(crate) struct ReplicateMetrics {
    entries: Counter,
    entry_events: Histogram,
    entry_bytes: Histogram,
    commit_seconds: Histogram,
    apply_seconds: Histogram,
    /// By reason, in the order of [`RetryReason::ALL`].
    retries: [Counter; RetryReason::ALL.len()],
}

impl ReplicateMetrics {
    pub(crate) fn new() -> Self {
        Self {
            entries: counter!("ringtail_replicate_entries_total"),
            entry_events: histogram!("ringtail_replicate_entry_events"),
            entry_bytes: histogram!("ringtail_replicate_entry_bytes"),
            commit_seconds: histogram!("ringtail_replicate_commit_seconds"),
            apply_seconds: histogram!("ringtail_replicate_apply_seconds"),
            retries: RetryReason::ALL
                .map(|reason| counter!("ringtail_route_retries_total", "reason" => reason.name())),
        }
    }

    pub(crate) fn proposed(&self, events: usize, bytes: usize) {
        self.entries.increment(1);
        self.entry_events.record(events as f64);
        self.entry_bytes.record(bytes as f64);
    }

    pub(crate) fn committed(&self, after: Duration) {
        self.commit_seconds.record(after);
    }

    pub(crate) fn applied(&self, after: Duration) {
        self.apply_seconds.record(after);
    }

    pub(crate) fn retried(&self, reason: RetryReason) {
        let position = RetryReason::ALL.iter().position(|known| *known == reason);
        if let Some(counter) = position.and_then(|position| self.retries.get(position)) {
            counter.increment(1);
        }
    }

    pub(crate) fn failed(&self, error: &RouteError) {
        counter!("ringtail_replicate_failed_total", "kind" => error.kind().name()).increment(1);
    }
}

//! What the spool tells about itself.

use std::time::Duration;

use metrics::{Counter, Gauge, counter, gauge};

use crate::spool::Usage;

/// Metrics of the spool.
pub(crate) struct SpoolMetrics {
    files: Gauge,
    bytes: Gauge,
    oldest_seconds: Gauge,
    copies_files: Gauge,
    copies_bytes: Gauge,
    spooled: Counter,
    spooled_alone: Counter,
    forwarded: Counter,
    refused: Counter,
    full: Counter,
    damaged: Counter,
    adopted: Counter,
}

impl SpoolMetrics {
    pub(crate) fn new() -> Self {
        Self {
            files: gauge!("ringtail_route_spool_files"),
            bytes: gauge!("ringtail_route_spool_bytes"),
            oldest_seconds: gauge!("ringtail_route_spool_oldest_seconds"),
            copies_files: gauge!("ringtail_route_spool_copies_files"),
            copies_bytes: gauge!("ringtail_route_spool_copies_bytes"),
            spooled: counter!("ringtail_route_spooled_events_total"),
            spooled_alone: counter!("ringtail_route_spooled_without_copy_events_total"),
            forwarded: counter!("ringtail_route_spool_forwarded_events_total"),
            refused: counter!("ringtail_route_spool_refused_events_total"),
            full: counter!("ringtail_route_spool_full_total"),
            damaged: counter!("ringtail_route_spool_damaged_files_total"),
            adopted: counter!("ringtail_route_spool_adopted_files_total"),
        }
    }

    pub(crate) fn show(&self, own: Usage, copies: Usage, oldest: Option<Duration>) {
        self.files.set(own.files as f64);
        self.bytes.set(own.bytes as f64);
        self.copies_files.set(copies.files as f64);
        self.copies_bytes.set(copies.bytes as f64);
        self.oldest_seconds
            .set(oldest.unwrap_or_default().as_secs_f64());
    }

    pub(crate) fn spooled(&self, events: usize, has_copy: bool) {
        self.spooled.increment(events as u64);
        if !has_copy {
            self.spooled_alone.increment(events as u64);
        }
    }

    pub(crate) fn forwarded(&self, events: usize) {
        self.forwarded.increment(events as u64);
    }

    /// The group took the events for malformed.
    pub(crate) fn refused(&self, events: usize) {
        self.refused.increment(events as u64);
    }

    pub(crate) fn full(&self) {
        self.full.increment(1);
    }

    pub(crate) fn damaged(&self) {
        self.damaged.increment(1);
    }

    pub(crate) fn adopted(&self) {
        self.adopted.increment(1);
    }
}

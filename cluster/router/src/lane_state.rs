//! What a lane knows about its way to a quorum. Pure.

use std::time::Duration;

use tokio::time::Instant;

use crate::{RouterOptions, entry::EntryKind};

/// What is on its way.
#[derive(Default)]
pub(crate) struct Pipeline {
    /// An entry is being handed over; the next waits, so that entries keep their order.
    pub(crate) is_proposing: bool,
    /// A message to look at the queue is in the mailbox.
    pub(crate) is_woken: bool,
    /// Entries of this node's submissions that no quorum and no spool holds, those that wait for another try among them.
    pub(crate) uncommitted: usize,
    /// Entries from other nodes and from the spool that no quorum holds: those that hang must not hold up the former.
    pub(crate) uncommitted_written: usize,
    /// Those of them that carry import marks: one at a time, because marks out of order are refused.
    pub(crate) imports: usize,
    pub(crate) unapplied: usize,
}

impl Pipeline {
    pub(crate) fn has_room(&self, options: &RouterOptions) -> bool {
        self.uncommitted < options.entries_in_flight_max
            && self.unapplied < options.entries_unapplied_max
    }

    pub(crate) fn has_room_for_written(&self, options: &RouterOptions) -> bool {
        self.uncommitted_written < options.written_entries_in_flight_max
            && self.unapplied < options.entries_unapplied_max
    }

    /// An entry of this kind sets out.
    pub(crate) fn begin(&mut self, kind: EntryKind) {
        self.imports += usize::from(kind == EntryKind::Import);
        *self.uncommitted_of(kind) += 1;
        self.unapplied += 1;
    }

    /// An entry of this kind is committed, spooled or refused.
    pub(crate) fn settle(&mut self, kind: EntryKind) {
        self.imports -= usize::from(kind == EntryKind::Import);
        *self.uncommitted_of(kind) -= 1;
    }

    const fn uncommitted_of(&mut self, kind: EntryKind) -> &mut usize {
        match kind {
            EntryKind::Live | EntryKind::Import | EntryKind::Command => &mut self.uncommitted,
            EntryKind::Peer | EntryKind::Spool => &mut self.uncommitted_written,
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.unapplied == 0
    }
}

/// Since when nothing got through, and how often in a row.
#[derive(Default)]
pub(crate) struct Outage {
    since: Option<Instant>,
    failures: u32,
}

impl Outage {
    /// An attempt failed. Returns the failures before it.
    ///
    /// Only live events begin an outage: they end up in the spool, and what is in the spool finds out when it is over.
    pub(crate) fn failed(&mut self, kind: EntryKind, now: Instant) -> u32 {
        if kind == EntryKind::Live {
            self.since.get_or_insert(now);
        }
        let failures = self.failures;
        self.failures = failures.saturating_add(1);
        failures
    }

    /// An entry got through, or the leader changed: whoever comes next gets the whole time.
    pub(crate) fn end(&mut self) {
        *self = Self::default();
    }

    /// Until when an entry of now waits for a quorum. During an outage that is until the first that failed may wait,
    /// so that the line behind it does not wait all over again, entry by entry.
    pub(crate) fn deadline(&self, now: Instant, wait: Duration) -> Instant {
        self.since.unwrap_or(now) + wait
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn during_an_outage_nobody_waits_longer_than_the_first() {
        let wait = Duration::from_millis(1_500);
        let begin = Instant::now() + wait;
        let later = begin + Duration::from_millis(900);
        let mut outage = Outage::default();
        assert_eq!(outage.deadline(later, wait), later + wait);
        assert_eq!(outage.failed(EntryKind::Command, begin - wait), 0);
        assert_eq!(outage.deadline(later, wait), later + wait);
        assert_eq!(outage.failed(EntryKind::Live, begin), 1);
        assert_eq!(outage.failed(EntryKind::Live, later), 2);
        assert_eq!(outage.deadline(later, wait), begin + wait);
        outage.end();
        assert_eq!(outage.failed(EntryKind::Live, later), 0);
        assert_eq!(outage.deadline(later, wait), later + wait);
    }
}

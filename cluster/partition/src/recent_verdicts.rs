//! Verdicts that no row tells of yet, for those who follow the log.

use std::collections::BTreeMap;

use bytes::Bytes;
use ringtail_proto::{LogIndex, Verdict};

/// Bytes of replies that are kept although notes tell of them, so that who follows closely needs no notes.
const SETTLED_BYTES_MAX: usize = 256 << 10;

/// The replies to entries of which not every event was plainly accepted, since what notes tell of.
///
/// A site that had an entry in its rows already answers that all is accepted: what its notes say counts, so a slice that
/// both tell of is as its note says.
#[derive(Debug, Default)]
pub(crate) struct RecentVerdicts {
    replies: BTreeMap<LogIndex, Bytes>,
    /// The last reply that was forgotten.
    forgotten: LogIndex,
    /// Notes of an earlier process, or of another replica, tell of entries up to here; none when that is not known.
    older: Option<LogIndex>,
}

/// What is known about a range of entries.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct KnownReplies {
    pub(crate) replies: BTreeMap<LogIndex, Bytes>,
    /// True when notes tell nothing more.
    pub(crate) are_all: bool,
}

impl RecentVerdicts {
    /// Takes the reply to an entry: one code for each event of each slice, in their order.
    pub(crate) fn record(&mut self, index: LogIndex, reply: &[u8]) {
        if reply.iter().any(|code| *code != Verdict::Accepted.code()) {
            self.replies.insert(index, Bytes::copy_from_slice(reply));
        }
    }

    /// Notes tell of everything up to here.
    pub(crate) fn forget_through(&mut self, settled: LogIndex) {
        let replies = self.replies.range(..=settled);
        let mut bytes: usize = replies.map(|(_, reply)| reply.len()).sum();
        while bytes > SETTLED_BYTES_MAX
            && let Some((index, reply)) = self.replies.pop_first()
        {
            bytes -= reply.len();
            self.forgotten = index;
        }
    }

    /// Notes that this process did not write tell of no later entry. Only what is said first counts: later notes are of
    /// entries whose replies are here.
    pub(crate) fn note_older(&mut self, through: LogIndex) {
        self.older.get_or_insert(through);
    }

    /// Other rows, with other notes, have taken the place of those that were known.
    pub(crate) fn forget_older(&mut self) {
        self.older = None;
    }

    /// What is known about the entries from one to another.
    pub(crate) fn of(&self, first: LogIndex, last: LogIndex) -> KnownReplies {
        let is_empty = last < first;
        let replies = (!is_empty).then(|| self.replies.range(first..=last));
        let replies = replies.into_iter().flatten();
        KnownReplies {
            replies: replies
                .map(|(index, reply)| (*index, reply.clone()))
                .collect(),
            are_all: self.forgotten < first && self.older.is_some_and(|older| older < first),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn notes_are_needed_below_what_was_forgotten_and_below_those_of_earlier_processes() {
        let mut recent = RecentVerdicts::default();
        let large = vec![Verdict::Late.code(); SETTLED_BYTES_MAX];
        recent.record(LogIndex(3), &[Verdict::Accepted.code()]);
        recent.record(LogIndex(5), &[Verdict::Late.code()]);
        recent.record(LogIndex(7), &large);
        recent.record(LogIndex(9), &large);
        let are_all =
            |recent: &RecentVerdicts, first| recent.of(LogIndex(first), LogIndex(9)).are_all;
        assert!(!are_all(&recent, 9), "nobody knows what older notes tell");
        recent.note_older(LogIndex(4));
        recent.note_older(LogIndex(8));
        for (first, expect) in [(4, false), (5, true), (9, true)] {
            assert_eq!(are_all(&recent, first), expect, "{first}");
        }
        let known = recent.of(LogIndex(1), LogIndex(7)).replies;
        assert_eq!(known.into_keys().collect::<Vec<_>>(), [5, 7].map(LogIndex));
        recent.forget_through(LogIndex(7));
        for (first, expect) in [(5, false), (6, true), (7, true)] {
            assert_eq!(are_all(&recent, first), expect, "{first}");
        }
        recent.forget_through(LogIndex(20));
        for (first, expect) in [(7, false), (8, true), (10, true)] {
            assert_eq!(are_all(&recent, first), expect, "{first}");
        }
        recent.forget_older();
        assert!(!are_all(&recent, 10));
    }
}

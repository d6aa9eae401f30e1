//! Who was in the group when: from an index back to the membership that held there.

use std::collections::VecDeque;

use bytes::Bytes;
use ringtail_proto::LogIndex;

/// The memberships since the floor, and the one that held at it.
#[derive(Debug, Default)]
pub(crate) struct Memberships {
    entries: VecDeque<(LogIndex, Bytes)>,
}

impl Memberships {
    /// Takes the next one; `index` is its entry's, or one at which it held already.
    pub(crate) fn record(&mut self, index: LogIndex, membership: Bytes) {
        self.entries.push_back((index, membership));
    }

    /// The one that held at an entry.
    pub(crate) fn at(&self, index: LogIndex) -> Option<Bytes> {
        let mut entries = self.entries.iter().rev();
        let (_, membership) = entries.find(|(first, _)| *first <= index)?;
        Some(membership.clone())
    }

    /// Forgets those that did not hold at the floor or later.
    pub(crate) fn forget_below(&mut self, floor: LogIndex) {
        while self.entries.get(1).is_some_and(|(next, _)| *next <= floor) {
            self.entries.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_has_the_last_membership_at_or_below_it() {
        let mut memberships = Memberships::default();
        assert_eq!(memberships.at(LogIndex(5)), None);
        for (index, name) in [(2, "a"), (5, "b"), (9, "c")] {
            memberships.record(LogIndex(index), Bytes::from_static(name.as_bytes()));
        }
        let check = |memberships: &Memberships, expect: &str| {
            let found = [1, 2, 4, 5, 8, 9, 10].map(|index| memberships.at(LogIndex(index)));
            let found = found.map(|found| found.unwrap_or(Bytes::from_static(b"-")));
            assert_eq!(found.concat(), expect.as_bytes());
        };
        check(&memberships, "-aabbcc");
        memberships.forget_below(LogIndex(4));
        check(&memberships, "-aabbcc");
        memberships.forget_below(LogIndex(8));
        check(&memberships, "---bbcc");
    }
}

//! Which entries the archive still needs.

use std::collections::VecDeque;

use ringtail_proto::LogIndex;

/// The entries since the floor that say something to sites, and that no seal holds yet. Entries of other kinds, with
/// which a quiet group keeps itself alive, need no seal.
#[derive(Debug, Default)]
pub(crate) struct Unsealed {
    /// First and last index of runs of such entries.
    runs: VecDeque<(LogIndex, LogIndex)>,
}

impl Unsealed {
    /// Takes the next entry that says something to a site.
    pub(crate) fn record(&mut self, index: LogIndex) {
        match self.runs.back_mut() {
            Some((_, last)) if last.0 + 1 == index.0 => *last = index,
            _ => self.runs.push_back((index, index)),
        }
    }

    /// The archive holds all entries up to here.
    pub(crate) fn forget_through(&mut self, sealed: LogIndex) {
        while let Some((first, last)) = self.runs.front_mut() {
            if *last > sealed {
                *first = LogIndex(sealed.0 + 1).max(*first);
                break;
            }
            self.runs.pop_front();
        }
    }

    /// The last such entry up to another one.
    pub(crate) fn last_through(&self, index: LogIndex) -> Option<LogIndex> {
        let mut runs = self.runs.iter().rev();
        let run = runs.find(|(first, _)| *first <= index);
        run.map(|(_, last)| index.min(*last))
    }

    /// The first entry that no seal holds.
    pub(crate) fn first(&self) -> Option<LogIndex> {
        self.runs.front().map(|(first, _)| *first)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_unsealed_entry_is_known_after_every_seal() {
        let mut unsealed = Unsealed::default();
        assert_eq!(unsealed.first(), None);
        for index in [3, 4, 5, 9, 12] {
            unsealed.record(LogIndex(index));
        }
        for (sealed, first) in [
            (2, Some(3)),
            (3, Some(4)),
            (4, Some(5)),
            (5, Some(9)),
            (8, Some(9)),
            (11, Some(12)),
            (12, None),
        ] {
            let last = unsealed.last_through(LogIndex(sealed));
            assert!(last.is_none_or(|last| last.0 <= sealed), "sealed {sealed}");
            unsealed.forget_through(LogIndex(sealed));
            assert_eq!(unsealed.first(), first.map(LogIndex), "sealed {sealed}");
        }
    }
}

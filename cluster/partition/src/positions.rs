//! Who led when: from an index back to the whole position.

use std::collections::VecDeque;

use ringtail_proto::{LogIndex, NodeId};
use ringtail_raft::LogPosition;

/// The positions of all entries since the floor, kept as one run for each leader.
#[derive(Debug, Default)]
pub(crate) struct Positions {
    runs: VecDeque<Run>,
    last: Option<LogIndex>,
}

#[derive(Debug)]
struct Run {
    first: LogIndex,
    term: u64,
    node: NodeId,
}

impl Positions {
    /// Takes the next entry's position.
    pub(crate) fn record(&mut self, position: LogPosition) {
        self.last = Some(position.index);
        let leader = (position.term, position.node);
        if self.runs.back().map(|run| (run.term, run.node)) != Some(leader) {
            self.runs.push_back(Run {
                first: position.index,
                term: position.term,
                node: position.node,
            });
        }
    }

    /// The position of a recorded entry.
    pub(crate) fn at(&self, index: LogIndex) -> Option<LogPosition> {
        if self.last.is_none_or(|last| index > last) {
            return None;
        }
        let run = self.runs.iter().rev().find(|run| run.first <= index)?;
        Some(LogPosition {
            term: run.term,
            node: run.node,
            index,
        })
    }

    /// Forgets entries below the floor.
    pub(crate) fn forget_below(&mut self, floor: LogIndex) {
        while self.runs.get(1).is_some_and(|next| next.first <= floor) {
            self.runs.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn position(term: u64, index: u64) -> LogPosition {
        LogPosition {
            term,
            node: NodeId(term * 10),
            index: LogIndex(index),
        }
    }

    #[test]
    fn every_recorded_index_has_its_leader_back() {
        let all = [(1, 5), (1, 6), (2, 7), (4, 8), (4, 9), (4, 10)];
        let mut positions = Positions::default();
        assert_eq!(positions.at(LogIndex(5)), None);
        for (term, index) in all {
            positions.record(position(term, index));
        }
        for (term, index) in all {
            assert_eq!(positions.at(LogIndex(index)), Some(position(term, index)));
        }
        assert_eq!(positions.at(LogIndex(4)), None);
        assert_eq!(positions.at(LogIndex(11)), None);
        positions.forget_below(LogIndex(8));
        assert_eq!(positions.runs.len(), 1);
        assert_eq!(positions.at(LogIndex(8)), Some(position(4, 8)));
        assert_eq!(positions.at(LogIndex(7)), None);
    }
}

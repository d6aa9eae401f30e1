//! What notes tell of some entries, so that a sealer that catches up does not read all notes again for each seal.

use std::collections::BTreeMap;

use ringtail_proto::LogIndex;
use ringtail_raft::spawn_blocking;

use crate::{PartitionError, SiteMachine, history::noted, partition::Partition};

/// Seals that are read ahead for.
const SEALS_AHEAD: u64 = 15;

/// The verdicts of slices of which not every event was plainly accepted.
pub(crate) type Verdicts = BTreeMap<(LogIndex, u32), Vec<u8>>;

/// What notes tell of settled entries: it changes no more.
#[derive(Debug)]
pub(crate) struct VerdictBook {
    first: LogIndex,
    last: LogIndex,
    verdicts: Verdicts,
}

impl VerdictBook {
    /// What it tells of these entries; none when it does not know of all of them.
    fn of(&self, first: LogIndex, last: LogIndex) -> Option<Verdicts> {
        let is_known = self.first <= first && last <= self.last;
        is_known.then(|| {
            let verdicts = self.verdicts.range((first, 0)..=(last, u32::MAX));
            verdicts.map(|(at, codes)| (*at, codes.clone())).collect()
        })
    }
}

impl<M: SiteMachine> Partition<M> {
    /// What notes tell of entries up to `settled`, and of some behind them for the next seals.
    pub(crate) async fn verdicts_of(
        &self,
        first: LogIndex,
        last: LogIndex,
        settled: LogIndex,
    ) -> Result<Verdicts, PartitionError> {
        let known = self
            .verdict_book
            .lock()
            .as_ref()
            .and_then(|book| book.of(first, last));
        if let Some(known) = known {
            return Ok(known);
        }
        let entries = last.0.saturating_sub(first.0) + 1;
        let ahead = last.0.saturating_add(entries.saturating_mul(SEALS_AHEAD));
        let through = LogIndex(ahead).min(settled).max(last);
        let rows = self.rows().snapshot();
        let read = spawn_blocking(move || noted(&*rows, first, through)).await;
        let read = read.map_err(|_| PartitionError::Stopping(self.group))??;
        let book = VerdictBook {
            first,
            last: through,
            verdicts: read.verdicts,
        };
        let known = book.of(first, last).unwrap_or_default();
        // Nothing is read ahead for who has caught up.
        *self.verdict_book.lock() = (through > last).then_some(book);
        Ok(known)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_book_tells_of_the_entries_that_it_knows_and_of_no_others() {
        let at = |index| (LogIndex(index), 0);
        let book = VerdictBook {
            first: LogIndex(10),
            last: LogIndex(20),
            verdicts: [(at(10), vec![2]), (at(15), vec![1]), (at(20), vec![0, 2])].into(),
        };
        for (first, last, expect) in [
            (9, 15, None),
            (15, 21, None),
            (10, 10, Some(1)),
            (11, 14, Some(0)),
            (11, 20, Some(2)),
            (10, 20, Some(3)),
        ] {
            let told = book.of(LogIndex(first), LogIndex(last));
            assert_eq!(told.map(|told| told.len()), expect, "{first}..={last}");
        }
    }
}

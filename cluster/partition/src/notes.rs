//! Notes: what a batch of a site's rows did, for those who carry history elsewhere.
//!
//! A note lies beside the rows that it tells of, written in the same atomic batch. It goes when archive and mirror have
//! what it names.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use ringtail_checkpoint::{GroupBatch, GroupKey, StoreError};
use ringtail_proto::{LogIndex, RowWrite, SiteGeneration, SiteRow, Verdict};
use serde::{Deserialize, Serialize};

const VERSION: u8 = 1;
/// The note of a checkpoint; there is one for each index at which a site was written.
const CHECKPOINT: u32 = 0;

/// What one batch of a site's rows did.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Note {
    /// The codes of slices of which not every event was plainly accepted, since the checkpoint before.
    pub verdicts: Vec<SliceVerdicts>,
    /// The encoded keys of the rows that the batch changed.
    pub changed: BTreeSet<Bytes>,
}

/// The verdicts of one slice of an entry.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SliceVerdicts {
    /// The entry.
    pub index: LogIndex,
    /// Which of the entry's slices.
    pub slice: u32,
    /// A code and how many events in a row have it.
    runs: Vec<(u8, u32)>,
}

impl SliceVerdicts {
    fn of(index: LogIndex, slice: u32, codes: &[u8]) -> Self {
        let runs = codes.chunk_by(|left, right| left == right);
        let runs = runs.filter_map(|run| Some((*run.first()?, run.len() as u32)));
        Self {
            index,
            slice,
            runs: runs.collect(),
        }
    }

    /// One code for each event of the slice.
    pub fn codes(&self) -> impl Iterator<Item = u8> + '_ {
        let runs = self.runs.iter();
        runs.flat_map(|(code, count)| std::iter::repeat_n(*code, *count as usize))
    }
}

impl Note {
    /// The row that holds the note of a checkpoint at an index.
    pub(crate) const fn checkpoint_row(index: LogIndex) -> SiteRow {
        SiteRow::Notes(index, CHECKPOINT)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.verdicts.is_empty() && self.changed.is_empty()
    }

    /// Notes that the batch changes these rows; rolled-up pages follow from hour pages, so nobody needs to know of them.
    pub(crate) fn note_changes(&mut self, site: SiteGeneration, writes: &[RowWrite]) {
        let is_needed = |row| !matches!(row, SiteRow::DayPage(..) | SiteRow::MonthPage(..));
        let rows = writes.iter().map(|write| write.row);
        let keys = rows.filter(|row| is_needed(*row));
        let keys = keys.map(|row| GroupKey::Site(site, row).encode());
        self.changed.extend(keys);
    }

    /// Adds the note to the batch that it tells of.
    pub(crate) fn write(&self, site: SiteGeneration, row: SiteRow, batch: &mut GroupBatch) {
        if !self.is_empty() {
            batch.put(&GroupKey::Site(site, row), self.encode());
        }
    }

    fn encode(&self) -> Bytes {
        let plain = postcard::to_extend(self, vec![VERSION]);
        plain.expect("memory takes what it is given").into()
    }

    /// Reads the value of a note's row.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`] for what is no note of this version.
    pub fn decode(value: &[u8]) -> Result<Self, StoreError> {
        let corrupt = |message: String| StoreError::Corrupt { message };
        match value.split_first() {
            Some((&VERSION, body)) => postcard::from_bytes(body)
                .map_err(|error| corrupt(format!("a note cannot be read: {error}"))),
            Some((found, _)) => Err(corrupt(format!(
                "a note has version {found}, this binary knows {VERSION}"
            ))),
            None => Err(corrupt("a note is empty".to_owned())),
        }
    }
}

/// Nothing but plainly accepted events: no note tells of them.
pub(crate) fn is_plain(codes: &[u8]) -> bool {
    codes.iter().all(|code| *code == Verdict::Accepted.code())
}

/// The verdicts that the next note of a site tells.
#[derive(Debug, Default)]
pub(crate) struct PendingVerdicts {
    /// By entry and slice, so that an entry that is applied again replaces what it said before.
    slices: BTreeMap<(LogIndex, u32), SliceVerdicts>,
}

impl PendingVerdicts {
    /// Takes the codes of a slice's events.
    pub(crate) fn note(&mut self, index: LogIndex, slice: u32, codes: &[u8]) {
        if is_plain(codes) {
            self.slices.remove(&(index, slice));
        } else {
            let verdicts = SliceVerdicts::of(index, slice, codes);
            self.slices.insert((index, slice), verdicts);
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.slices.is_empty()
    }

    pub(crate) fn to_note(&self) -> Note {
        Note {
            verdicts: self.slices.values().cloned().collect(),
            changed: BTreeSet::new(),
        }
    }

    /// They are in the rows.
    pub(crate) fn clear(&mut self) {
        self.slices.clear();
    }
}

#[cfg(test)]
mod tests {
    use ringtail_proto::{DropReason, HourStart, SiteId};

    use super::*;

    const ACCEPTED: u8 = Verdict::Accepted.code();
    const DUPLICATE: u8 = Verdict::Duplicate.code();

    #[test]
    fn only_what_is_not_plain_is_noted_and_the_last_word_counts() {
        let mut pending = PendingVerdicts::default();
        pending.note(LogIndex(3), 0, &[ACCEPTED, ACCEPTED]);
        pending.note(LogIndex(4), 1, &[ACCEPTED, DUPLICATE, DUPLICATE]);
        pending.note(LogIndex(5), 0, &[DUPLICATE]);
        let poisoned = Verdict::Dropped(DropReason::Poisoned).code();
        pending.note(LogIndex(4), 1, &[poisoned; 3]);
        pending.note(LogIndex(5), 0, &[ACCEPTED]);
        let note = Note::decode(&pending.to_note().encode()).expect("just encoded");
        let found: Vec<_> = note
            .verdicts
            .iter()
            .map(|slice| {
                (
                    slice.index.0,
                    slice.slice,
                    slice.codes().collect::<Vec<_>>(),
                )
            })
            .collect();
        assert_eq!(found, [(4, 1, vec![poisoned; 3])]);
        pending.clear();
        assert!(pending.to_note().is_empty());
    }

    #[test]
    fn a_note_names_the_rows_of_its_batch() {
        let site = SiteGeneration::first(SiteId(7));
        let mut note = Note::default();
        let row = SiteRow::Site;
        let rolled_up = SiteRow::DayPage(HourStart(0), 1);
        note.note_changes(
            site,
            &[row, rolled_up].map(|row| RowWrite { row, value: None }),
        );
        let mut batch = GroupBatch::new();
        note.write(site, Note::checkpoint_row(LogIndex(9)), &mut batch);
        assert_eq!(batch.len(), 1);
        let read = Note::decode(&note.encode()).expect("just encoded");
        let keys: Vec<_> = read
            .changed
            .iter()
            .map(|key| GroupKey::decode(key))
            .collect();
        assert_eq!(keys, [Ok(GroupKey::Site(site, row))]);
    }

    #[test]
    fn what_is_no_note_is_refused() {
        let newer = [VERSION + 1];
        for (bytes, expect) in [
            (&b""[..], "empty"),
            (&newer, "version 2"),
            (&[VERSION, 9], "cannot be read"),
        ] {
            let error = Note::decode(bytes).expect_err("no note").to_string();
            assert!(error.contains(expect), "{error}");
        }
    }
}

//! Where imports stand.

use std::collections::BTreeMap;

use ringtail_proto::{Text, stored};
use serde::{Deserialize, Serialize};

/// Most sources of imports that a site remembers: forgetting one would let it be counted again.
pub const IMPORT_SOURCES_MAX: usize = 1_000;
/// Longest name of a source and longest prefix hash.
const SOURCE_BYTES_MAX: usize = 256;

/// How far the import of one source came.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImportProgress {
    /// The highest line applied, from 1.
    pub last_line: u64,
    /// Hash over all lines up to it.
    pub prefix_hash: Vec<u8>,
    /// The import said that it is finished; a longer file may still resume it.
    pub is_finished: bool,
}

/// Progress by source.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Imports {
    sources: BTreeMap<Vec<u8>, ImportProgress>,
}

/// Which events of a marked batch are new.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum MarkVerdict {
    /// Events of lines up to this one were applied before; the others are new.
    AppliedUpTo(u64),
    /// The mark contradicts itself, leaves a gap, or is one source too many: nothing is applied.
    Refused,
}

impl Imports {
    pub(crate) fn get(&self, source: &[u8]) -> Option<&ImportProgress> {
        self.sources.get(source)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (Text, &ImportProgress)> {
        self.sources
            .iter()
            .map(|(source, progress)| (Text::from_bytes(source.clone().into()), progress))
    }

    /// Judges a mark and, unless it is refused, moves its source up to its last line.
    pub(crate) fn advance(&mut self, mark: &stored::ImportMark, events: usize) -> MarkVerdict {
        let known = self.sources.get(mark.source.as_ref());
        let applied = known.map_or(0, |progress| progress.last_line);
        let leaves_gap = mark.first_line > applied.saturating_add(1);
        let is_one_too_many = known.is_none() && self.sources.len() >= IMPORT_SOURCES_MAX;
        if is_broken_mark(mark, events) || leaves_gap || is_one_too_many {
            return MarkVerdict::Refused;
        }
        if mark.last_line > applied {
            let progress = self.sources.entry(mark.source.to_vec()).or_default();
            progress.last_line = mark.last_line;
            progress.prefix_hash = mark.prefix_hash.to_vec();
            progress.is_finished = false;
        }
        MarkVerdict::AppliedUpTo(applied)
    }

    pub(crate) fn finish(&mut self, source: &[u8]) {
        if let Some(progress) = self.sources.get_mut(source) {
            progress.is_finished = true;
        }
    }
}

/// True when a mark contradicts itself or the number of events that it comes with.
pub(crate) fn is_broken_mark(mark: &stored::ImportMark, events: usize) -> bool {
    mark.lines.len() != events
        || mark.first_line == 0
        || mark.last_line < mark.first_line
        || mark.source.len() > SOURCE_BYTES_MAX
        || mark.prefix_hash.len() > SOURCE_BYTES_MAX
        || mark
            .lines
            .iter()
            .any(|line| u64::from(*line) > mark.last_line - mark.first_line)
}

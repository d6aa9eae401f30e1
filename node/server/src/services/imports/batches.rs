//! From lines to marked batches, each of which fits into one log entry.

use bytes::Bytes;
use ringtail_gateway::{ImportChunk as Enriched, Importer};
use ringtail_proto::{Event, stored::ImportMark};

use super::{ImportChunk, ImportCounts};
use crate::import_position::{ImportPosition, without_line_end};

/// Lines, and so events, of one marked batch.
const BATCH_LINES_MAX: usize = 2_000;

/// Events of consecutive lines, and the mark that makes them count once.
pub(super) struct Batch {
    pub(super) events: Vec<Event>,
    pub(super) mark: ImportMark,
}

pub(super) fn batches_of(
    importer: &Importer,
    source: &Bytes,
    chunk: &ImportChunk,
) -> (Vec<Batch>, ImportCounts) {
    let mut counts = ImportCounts::default();
    let mut position = chunk.after;
    let batches = pieces_of(&chunk.bytes)
        .map(|lines| {
            let first_line = position.lines + 1;
            let enriched = importer.enrich(&lines, first_line);
            for (_, reason) in &enriched.dropped {
                counts.drop(*reason);
            }
            for line in lines.split_inclusive(|byte| *byte == b'\n') {
                position.advance(without_line_end(line));
            }
            Batch::new(source.clone(), first_line, enriched, position)
        })
        .collect();
    (batches, counts)
}

/// Cuts a chunk at line ends, so that one piece fits into one log entry.
fn pieces_of(bytes: &Bytes) -> impl Iterator<Item = Bytes> + '_ {
    let mut rest = bytes.clone();
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let mut ends = rest
            .iter()
            .enumerate()
            .filter(|(_, byte)| **byte == b'\n')
            .map(|(position, _)| position + 1);
        let end = ends.nth(BATCH_LINES_MAX - 1).unwrap_or(rest.len());
        Some(rest.split_to(end))
    })
}

impl Batch {
    fn new(source: Bytes, first_line: u64, enriched: Enriched, end: ImportPosition) -> Self {
        Self {
            events: enriched.events,
            mark: ImportMark {
                source,
                first_line,
                last_line: end.lines,
                prefix_hash: Bytes::copy_from_slice(&end.hash),
                lines: enriched.event_lines,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_are_whole_lines_and_together_the_chunk() {
        let chunk = Bytes::from("x\n".repeat(2 * BATCH_LINES_MAX) + "last");
        let pieces: Vec<Bytes> = pieces_of(&chunk).collect();
        let lines = |piece: &Bytes| piece.split_inclusive(|byte| *byte == b'\n').count();
        assert_eq!(
            pieces.iter().map(lines).collect::<Vec<_>>(),
            [BATCH_LINES_MAX, BATCH_LINES_MAX, 1]
        );
        assert_eq!(pieces.concat(), chunk);
    }
}

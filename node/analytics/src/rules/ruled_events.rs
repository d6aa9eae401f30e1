//! A slice of events after the rules.

use std::borrow::Cow;

use bytes::Bytes;
use ringtail_proto::{
    DropReason, Verdict,
    stored::{Acquisition, EventBatch, ImportMark, SiteEvents, StoredEvent},
};

use crate::state::{BatchTables, is_broken_mark};

/// A site's events of one entry after the rules, and the rows of tables that the rules added. An entry holds events of
/// many sites: its tables are shared, not copied.
#[derive(Clone, Debug)]
pub struct RuledEvents<'a> {
    batch: &'a EventBatch,
    events: Cow<'a, SiteEvents>,
    /// Rows behind those of the batch's tables.
    more_texts: Vec<Bytes>,
    more_acquisitions: Vec<Acquisition>,
    /// Positions in the slice as it was, ascending.
    left_out: Vec<usize>,
}

impl<'a> RuledEvents<'a> {
    pub(super) const fn unchanged(batch: &'a EventBatch, events: &'a SiteEvents) -> Self {
        Self {
            batch,
            events: Cow::Borrowed(events),
            more_texts: Vec::new(),
            more_acquisitions: Vec::new(),
            left_out: Vec::new(),
        }
    }

    pub(super) fn changed(
        batch: &'a EventBatch,
        events: &'a SiteEvents,
        kept: Vec<StoredEvent>,
        left_out: Vec<usize>,
    ) -> Self {
        let is_broken = |mark: &ImportMark| is_broken_mark(mark, events.events.len());
        if !left_out.is_empty() && events.import.as_ref().is_some_and(is_broken) {
            // Refused as a whole, whoever is in it: without some of its events it might not be.
            return Self::unchanged(batch, events);
        }
        let import = events.import.as_ref().map(|mark| ImportMark {
            // The mark covers the same lines of the file, fewer of which have events.
            lines: without(&mark.lines, &left_out),
            ..mark.clone()
        });
        Self {
            events: Cow::Owned(SiteEvents {
                site: events.site,
                events: kept,
                import,
            }),
            left_out,
            ..Self::unchanged(batch, events)
        }
    }

    pub(super) fn with_tables(
        self,
        more_texts: Vec<Bytes>,
        more_acquisitions: Vec<Acquisition>,
    ) -> Self {
        Self {
            more_texts,
            more_acquisitions,
            ..self
        }
    }

    /// True when the rules left the slice as it was.
    #[must_use]
    pub const fn is_unchanged(&self) -> bool {
        matches!(self.events, Cow::Borrowed(_))
    }

    /// The events; their positions point into [`Self::to_batch`]'s tables.
    #[must_use]
    pub fn events(&self) -> &SiteEvents {
        &self.events
    }

    /// The positions of the events that were left out, in the slice as it was.
    #[must_use]
    pub fn left_out(&self) -> &[usize] {
        &self.left_out
    }

    /// A batch of these events alone, with all tables. For readers of events; a site's state needs no copy.
    #[must_use]
    pub fn to_batch(&self) -> EventBatch {
        let batch = self.batch;
        let mut events = self.events.clone().into_owned();
        for event in &mut events.events {
            // A position behind the batch's texts was none, and must not become that of an added one.
            if event.user_id_plus_one as usize > batch.texts.len() {
                event.user_id_plus_one = 0;
            }
        }
        EventBatch {
            texts: [batch.texts.as_slice(), &self.more_texts].concat(),
            clients: batch.clients.clone(),
            places: batch.places.clone(),
            acquisitions: [batch.acquisitions.as_slice(), &self.more_acquisitions].concat(),
            sites: vec![events],
        }
    }

    /// One verdict for each event of the slice as it was, from one for each that is left.
    #[must_use]
    pub fn verdicts(&self, verdicts: Vec<Verdict>) -> Vec<Verdict> {
        if self.left_out.is_empty() {
            return verdicts;
        }
        let mut left_out = self.left_out.iter().copied().peekable();
        let mut kept = verdicts.into_iter();
        let events = self.events.events.len() + self.left_out.len();
        (0..events)
            .filter_map(|position| match left_out.next_if_eq(&position) {
                Some(_) => Some(Verdict::Dropped(DropReason::Erased)),
                None => kept.next(),
            })
            .collect()
    }

    pub(crate) fn tables(&self) -> BatchTables<'_> {
        BatchTables::new(self.batch, &self.more_texts, &self.more_acquisitions)
    }
}

/// The lines of the events that are kept.
fn without(lines: &[u32], left_out: &[usize]) -> Vec<u32> {
    let mut left_out = left_out.iter().copied().peekable();
    let kept = lines.iter().enumerate();
    kept.filter(|(position, _)| left_out.next_if_eq(position).is_none())
        .map(|(_, line)| *line)
        .collect()
}

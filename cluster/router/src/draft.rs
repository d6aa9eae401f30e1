//! Submissions that share an entry.

use bytes::Bytes;
use hashbrown::HashMap;
use ringtail_proto::{
    Event, SiteId,
    stored::{ImportMark, SiteCommand},
};

use crate::{
    Applied, RouterOptions,
    entry::{EntryKind, Unstamped},
    submission::Ticket,
};

/// What goes into one entry.
pub(crate) enum Draft {
    Events(EventsDraft),
    Command {
        command: SiteCommand,
        ticket: Ticket<Bytes>,
    },
    /// An entry that somebody else has written, alone.
    Encoded {
        entry: EncodedEntry,
        ticket: Ticket<Bytes>,
    },
}

/// An entry from another node or from the spool.
pub(crate) struct EncodedEntry {
    pub(crate) bytes: Unstamped,
    pub(crate) events: usize,
    pub(crate) kind: EntryKind,
}

/// Events of several submissions. Those of one site stand together, so that apply wakes each site once.
#[derive(Default)]
pub(crate) struct EventsDraft {
    pub(crate) slices: Vec<Slice>,
    /// The slice to which further live events of a site are added.
    open: HashMap<SiteId, usize>,
    pub(crate) parts: Vec<Part>,
    pub(crate) events: usize,
    bytes: usize,
    /// Imports and live events do not share an entry: only the latter are spooled.
    pub(crate) is_import: bool,
}

pub(crate) struct Slice {
    pub(crate) site: SiteId,
    /// Those of each submission as they came; they are not worth moving together.
    pub(crate) pieces: Vec<Vec<Event>>,
    events: usize,
    pub(crate) import: Option<ImportMark>,
}

/// Where a submission's events are.
pub(crate) struct Part {
    pub(crate) slice: usize,
    pub(crate) first: usize,
    pub(crate) count: usize,
    pub(crate) ticket: Ticket<Applied>,
}

impl EventsDraft {
    pub(crate) fn is_empty(&self) -> bool {
        self.parts.is_empty()
    }

    pub(crate) fn has_room(
        &self,
        events: usize,
        bytes: usize,
        is_import: bool,
        options: &RouterOptions,
    ) -> bool {
        self.is_empty()
            || (self.is_import == is_import
                && self.events + events <= options.batch_events_max
                && self.bytes + bytes <= options.batch_bytes_max)
    }

    pub(crate) fn add(
        &mut self,
        site: SiteId,
        events: Vec<Event>,
        import: Option<ImportMark>,
        bytes: usize,
        ticket: Ticket<Applied>,
    ) {
        self.is_import = import.is_some();
        let count = events.len();
        self.events += count;
        self.bytes += bytes;
        let open = self.open.get(&site).copied().filter(|_| import.is_none());
        let (slice, first) = match open.and_then(|at| Some((at, self.slices.get_mut(at)?))) {
            Some((at, slice)) => {
                let first = slice.events;
                slice.events += count;
                slice.pieces.push(events);
                (at, first)
            }
            None => {
                let at = self.slices.len();
                // An import's mark covers its own events only; live events behind it begin a slice of their own.
                match &import {
                    None => self.open.insert(site, at),
                    Some(_) => self.open.remove(&site),
                };
                self.slices.push(Slice {
                    site,
                    pieces: vec![events],
                    events: count,
                    import,
                });
                (at, 0)
            }
        };
        self.parts.push(Part {
            slice,
            first,
            count,
            ticket,
        });
    }
}

//! What waits for the next entry. Pure: no actor, no clock.

use std::collections::VecDeque;

use bytes::Bytes;
use ringtail_proto::{
    Event, SiteId,
    stored::{ImportMark, SiteCommand},
};

use crate::{
    Applied, RouteError, RouterOptions,
    draft::{Draft, EncodedEntry, EventsDraft},
    line::Place,
    submission::Ticket,
};

/// One submission in line.
pub(crate) enum Item {
    Events {
        site: SiteId,
        events: Vec<Event>,
        import: Option<ImportMark>,
        bytes: usize,
        ticket: Ticket<Applied>,
        place: Place,
    },
    Command {
        command: SiteCommand,
        ticket: Ticket<Bytes>,
        place: Place,
    },
    Encoded {
        entry: EncodedEntry,
        ticket: Ticket<Bytes>,
        place: Place,
    },
}

impl Item {
    pub(crate) fn refuse(self, error: &RouteError) {
        match self {
            Self::Events { ticket, .. } => ticket.refuse(error),
            Self::Command { ticket, .. } | Self::Encoded { ticket, .. } => ticket.refuse(error),
        }
    }
}

/// Submissions of one group that wait for the next entry, in order.
#[derive(Default)]
pub(crate) struct Queue {
    items: VecDeque<Item>,
    /// Entries from other nodes and from the spool: a line of their own.
    written: VecDeque<Item>,
}

impl Queue {
    pub(crate) fn push(&mut self, item: Item) {
        match item {
            Item::Encoded { .. } => self.written.push_back(item),
            Item::Events { .. } | Item::Command { .. } => self.items.push_back(item),
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.items.is_empty() && self.written.is_empty()
    }

    /// True when the next entry would carry an import.
    pub(crate) fn is_import_next(&self) -> bool {
        matches!(
            self.items.front(),
            Some(Item::Events {
                import: Some(_),
                ..
            })
        )
    }

    /// Takes an entry that somebody else has written.
    pub(crate) fn take_written(&mut self) -> Option<Draft> {
        match self.written.pop_front()? {
            Item::Encoded {
                entry,
                ticket,
                place,
            } => {
                drop(place);
                Some(Draft::Encoded { entry, ticket })
            }
            Item::Events { .. } | Item::Command { .. } => None,
        }
    }

    /// Takes what fits into one entry from the front: a command alone, or events up to the bounds.
    pub(crate) fn take_entry(&mut self, options: &RouterOptions) -> Option<Draft> {
        let mut draft = EventsDraft::default();
        while let Some(item) = self.items.pop_front() {
            match item {
                Item::Command {
                    command,
                    ticket,
                    place,
                } if draft.is_empty() => {
                    drop(place);
                    return Some(Draft::Command { command, ticket });
                }
                Item::Events {
                    site,
                    events,
                    import,
                    bytes,
                    ticket,
                    place,
                } if draft.has_room(events.len(), bytes, import.is_some(), options) => {
                    drop(place);
                    draft.add(site, events, import, bytes, ticket);
                }
                next => {
                    self.items.push_front(next);
                    break;
                }
            }
        }
        (!draft.is_empty()).then_some(Draft::Events(draft))
    }
}

#[cfg(test)]
#[path = "queue_tests.rs"]
mod tests;

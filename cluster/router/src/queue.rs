//! What waits for the next entry, and how it becomes one. Pure: no actor, no clock.

use std::collections::VecDeque;

use bytes::Bytes;
use hashbrown::HashMap;
use ringtail_proto::{
    Event, GroupId, SiteId, UnixMillis, Verdict,
    stored::{BatchWriter, ImportMark, PartitionEntry, SiteCommand, partition_entry::Body},
};

use crate::{RouteError, RouterOptions, submission::Ticket};

/// One submission in line.
pub(crate) enum Item {
    Events {
        site: SiteId,
        events: Vec<Event>,
        import: Option<ImportMark>,
        bytes: usize,
        ticket: Ticket<Vec<Verdict>>,
    },
    Command {
        command: SiteCommand,
        ticket: Ticket<Bytes>,
    },
}

impl Item {
    pub(crate) fn refuse(self, error: &RouteError) {
        match self {
            Self::Events { ticket, .. } => ticket.refuse(error),
            Self::Command { ticket, .. } => ticket.refuse(error),
        }
    }
}

/// Submissions of one group that wait for the next entry, in order.
#[derive(Default)]
pub(crate) struct Queue {
    items: VecDeque<Item>,
}

impl Queue {
    pub(crate) fn push(&mut self, item: Item) {
        self.items.push_back(item);
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// Takes what fits into one entry from the front: a command alone, or events up to the bounds.
    pub(crate) fn take_entry(&mut self, options: &RouterOptions) -> Option<Draft> {
        let mut events_draft = EventsDraft::default();
        while let Some(item) = self.items.pop_front() {
            match item {
                Item::Command { command, ticket } if events_draft.parts.is_empty() => {
                    return Some(Draft::Command { command, ticket });
                }
                Item::Events {
                    site,
                    events,
                    import,
                    bytes,
                    ticket,
                } if events_draft.has_room(events.len(), bytes, options) => {
                    events_draft.add(site, events, import, bytes, ticket);
                }
                next => {
                    self.items.push_front(next);
                    break;
                }
            }
        }
        (!events_draft.parts.is_empty()).then_some(Draft::Events(events_draft))
    }
}

/// What goes into one entry.
pub(crate) enum Draft {
    Events(EventsDraft),
    Command {
        command: SiteCommand,
        ticket: Ticket<Bytes>,
    },
}

/// Events of several submissions. Those of one site stand together, so that apply wakes each site once.
#[derive(Default)]
pub(crate) struct EventsDraft {
    slices: Vec<Slice>,
    /// The slice to which further live events of a site are added.
    open: HashMap<SiteId, usize>,
    parts: Vec<Part>,
    events: usize,
    bytes: usize,
}

struct Slice {
    site: SiteId,
    events: Vec<Event>,
    import: Option<ImportMark>,
}

/// Where a submission's events are.
struct Part {
    slice: usize,
    first: usize,
    count: usize,
    ticket: Ticket<Vec<Verdict>>,
}

impl EventsDraft {
    fn has_room(&self, events: usize, bytes: usize, options: &RouterOptions) -> bool {
        self.parts.is_empty()
            || (self.events + events <= options.batch_events_max
                && self.bytes + bytes <= options.batch_bytes_max)
    }

    fn add(
        &mut self,
        site: SiteId,
        mut events: Vec<Event>,
        import: Option<ImportMark>,
        bytes: usize,
        ticket: Ticket<Vec<Verdict>>,
    ) {
        let count = events.len();
        self.events += count;
        self.bytes += bytes;
        let open = self.open.get(&site).copied().filter(|_| import.is_none());
        let (slice, first) = match open.and_then(|at| Some((at, self.slices.get_mut(at)?))) {
            Some((at, slice)) => {
                let first = slice.events.len();
                slice.events.append(&mut events);
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
                    events,
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

/// An encoded entry and whoever waits for it.
pub(crate) struct Entry {
    pub(crate) bytes: Bytes,
    pub(crate) events: usize,
    pub(crate) waiting: Waiting,
}

impl Draft {
    /// Encodes the entry under its stamp.
    pub(crate) fn encode(self, group: GroupId, stamp: UnixMillis) -> Entry {
        let entry = |body| {
            PartitionEntry {
                stamp_ms: stamp.0,
                body: Some(body),
            }
            .to_log()
        };
        match self {
            Self::Command {
                command,
                mut ticket,
            } => {
                ticket.mark_proposed();
                Entry {
                    bytes: entry(Body::Site(command)),
                    events: 0,
                    waiting: Waiting::Command(ticket),
                }
            }
            Self::Events(draft) => {
                let mut writer = BatchWriter::new();
                let mut offsets = Vec::with_capacity(draft.slices.len());
                for slice in &draft.slices {
                    offsets.push(writer.events());
                    writer.add(slice.site, &slice.events, slice.import.clone());
                }
                let bytes = entry(Body::Events(writer.finish()));
                // The writer knows attribute groups by their address: only now may the events go.
                drop(draft.slices);
                let parts = draft.parts.into_iter().map(|part| {
                    let mut ticket = part.ticket;
                    ticket.mark_proposed();
                    let offset = offsets.get(part.slice).expect("each part lies in a slice");
                    Waiter {
                        first: offset + part.first,
                        count: part.count,
                        ticket,
                    }
                });
                Entry {
                    bytes,
                    events: draft.events,
                    waiting: Waiting::Events {
                        group,
                        waiters: parts.collect(),
                        events: draft.events,
                    },
                }
            }
        }
    }
}

/// Whoever waits for an entry.
pub(crate) enum Waiting {
    Events {
        group: GroupId,
        waiters: Vec<Waiter>,
        events: usize,
    },
    Command(Ticket<Bytes>),
}

/// One submission's share of an entry's verdicts.
pub(crate) struct Waiter {
    first: usize,
    count: usize,
    ticket: Ticket<Vec<Verdict>>,
}

impl Waiting {
    pub(crate) fn answer_committed(&mut self, answer: &Result<(), RouteError>) {
        match self {
            Self::Command(ticket) => ticket.answer_committed(answer.clone()),
            Self::Events { waiters, .. } => {
                for waiter in waiters {
                    waiter.ticket.answer_committed(answer.clone());
                }
            }
        }
    }

    /// Hands each submission the verdicts of its own events.
    pub(crate) fn answer_applied(self, reply: Bytes) {
        match self {
            Self::Command(ticket) => ticket.answer_applied(Ok(reply)),
            Self::Events {
                group,
                waiters,
                events,
            } => {
                let fault = RouteError::MalformedReply {
                    group,
                    events,
                    replies: reply.len(),
                };
                let is_complete = reply.len() == events;
                for waiter in waiters {
                    let codes = reply.get(waiter.first..waiter.first + waiter.count);
                    let verdicts = codes.filter(|_| is_complete).and_then(verdicts_of);
                    waiter
                        .ticket
                        .answer_applied(verdicts.ok_or_else(|| fault.clone()));
                }
            }
        }
    }

    pub(crate) fn refuse(self, error: &RouteError) {
        match self {
            Self::Command(ticket) => ticket.refuse(error),
            Self::Events { waiters, .. } => {
                for waiter in waiters {
                    waiter.ticket.refuse(error);
                }
            }
        }
    }
}

fn verdicts_of(codes: &[u8]) -> Option<Vec<Verdict>> {
    codes.iter().map(|code| Verdict::from_code(*code)).collect()
}

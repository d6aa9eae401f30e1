//! What waits for the next entry, and how it becomes one. Pure: no actor, no clock.

use std::collections::VecDeque;

use bytes::Bytes;
use hashbrown::HashMap;
use ringtail_proto::{
    Event, GroupId, SiteId, UnixMillis, Verdict,
    stored::{BatchWriter, ImportMark, PartitionEntry, SiteCommand, partition_entry::Body},
};

use crate::{RouteError, RouterOptions, line::Place, submission::Ticket};

/// One submission in line.
pub(crate) enum Item {
    Events {
        site: SiteId,
        events: Vec<Event>,
        import: Option<ImportMark>,
        bytes: usize,
        ticket: Ticket<Vec<Verdict>>,
        place: Place,
    },
    Command {
        command: SiteCommand,
        ticket: Ticket<Bytes>,
        place: Place,
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
        let mut draft = EventsDraft::default();
        while let Some(item) = self.items.pop_front() {
            match item {
                Item::Command {
                    command,
                    ticket,
                    place,
                } if draft.parts.is_empty() => {
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
                } if draft.has_room(events.len(), bytes, options) => {
                    drop(place);
                    draft.add(site, events, import, bytes, ticket);
                }
                next => {
                    self.items.push_front(next);
                    break;
                }
            }
        }
        (!draft.parts.is_empty()).then_some(Draft::Events(draft))
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
    /// Those of each submission as they came; they are not worth moving together.
    pieces: Vec<Vec<Event>>,
    events: usize,
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
        events: Vec<Event>,
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

/// An encoded entry and whoever waits for it.
pub(crate) struct Entry {
    pub(crate) bytes: Bytes,
    pub(crate) events: usize,
    pub(crate) waiting: Waiting,
}

impl Draft {
    /// Encodes the entry under its stamp.
    pub(crate) fn encode(self, group: GroupId, stamp: UnixMillis) -> Entry {
        match self {
            Self::Command {
                command,
                mut ticket,
            } => {
                ticket.mark_proposed();
                let entry = PartitionEntry {
                    stamp_ms: stamp.0,
                    body: Some(Body::Site(command)),
                };
                Entry {
                    bytes: entry.to_log(),
                    events: 0,
                    waiting: Waiting::Command(ticket),
                }
            }
            Self::Events(draft) => {
                let mut writer = BatchWriter::new();
                let mut offsets = Vec::with_capacity(draft.slices.len());
                for slice in &draft.slices {
                    offsets.push(writer.events());
                    writer.add_all(slice.site, &slice.pieces, slice.import.clone());
                }
                let bytes = writer.into_log(stamp);
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

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;
    use proptest::{collection::vec, prelude::*};
    use ringtail_proto::{EventId, VisitorId};

    use super::*;
    use crate::{Submission, budget::Budget, line::Line};

    const GROUP: GroupId = GroupId(3);

    fn event(id: u128) -> Event {
        Event {
            id: EventId(id),
            visitor: VisitorId(1),
            visitor_previous: None,
            user_id: None,
            name: "pageview".into(),
            time: None,
            page: "/".into(),
            hostname: "a.example".into(),
            client: Default::default(),
            place: Default::default(),
            acquisition: Default::default(),
            properties: Vec::new(),
            revenue: None,
            scroll_depth: None,
            engaged_ms: 0,
            flags: Default::default(),
            dropped: None,
        }
    }

    /// One submission: a site, its number of events, whether it is an import.
    type Shape = (u64, usize, bool);

    fn submit(queue: &mut Queue, shape: Shape, first_id: u128) -> Submission {
        let (site, count, is_import) = shape;
        let options = RouterOptions::default();
        let charge = Budget::new(&options).charge(SiteId(site), count, 1);
        let (ticket, submission) = Ticket::for_events(GROUP, charge.expect("the budget is empty"));
        queue.push(Item::Events {
            site: SiteId(site),
            events: (0..count as u128)
                .map(|offset| event(first_id + offset))
                .collect(),
            import: is_import.then(ImportMark::default),
            bytes: 10,
            ticket,
            place: Line::new(GROUP, 1).take_place().expect("the line is empty"),
        });
        submission
    }

    /// The verdict that the test's apply gives: it depends on the event alone.
    fn verdict_of(id: u128) -> Verdict {
        match id % 3 {
            0 => Verdict::Accepted,
            1 => Verdict::Duplicate,
            _ => Verdict::Late,
        }
    }

    fn apply(entry: &Bytes) -> (Bytes, Vec<(u64, bool, Vec<u128>)>) {
        let entry = PartitionEntry::from_log(entry.clone()).expect("the entry was just encoded");
        let Some(Body::Events(batch)) = entry.body else {
            panic!("events expected, found {:?}", entry.body)
        };
        let slices: Vec<_> = batch
            .sites
            .iter()
            .map(|slice| {
                let ids = slice
                    .events
                    .iter()
                    .map(|event| u128::from(event.id_low))
                    .collect();
                (slice.site, slice.import.is_some(), ids)
            })
            .collect();
        let ids = slices
            .iter()
            .flat_map(|(_, _, ids): &(_, _, Vec<u128>)| ids);
        (ids.map(|id| verdict_of(*id).code()).collect(), slices)
    }

    proptest! {
        #[test]
        fn every_submission_gets_the_verdicts_of_its_own_events(
            shapes in vec((0..4u64, 0..5usize, proptest::bool::weighted(0.2)), 1..40),
            batch_events_max in 1..30usize,
        ) {
            let options = RouterOptions { batch_events_max, ..RouterOptions::default() };
            let mut queue = Queue::default();
            let mut expect = Vec::new();
            let mut next_id = 0;
            for shape in &shapes {
                let submission = submit(&mut queue, *shape, next_id);
                let ids: Vec<_> = (next_id..next_id + shape.1 as u128).collect();
                next_id += shape.1 as u128;
                expect.push((submission, ids));
            }
            let mut ids_by_site = std::collections::BTreeMap::<u64, Vec<u128>>::new();
            while let Some(draft) = queue.take_entry(&options) {
                let entry = draft.encode(GROUP, UnixMillis(1));
                let (reply, slices) = apply(&entry.bytes);
                prop_assert_eq!(reply.len(), entry.events);
                prop_assert!(entry.events <= batch_events_max.max(5));
                let live = slices.iter().filter(|(_, is_import, _)| !is_import).map(|(site, ..)| *site);
                let has_import = slices.iter().any(|(_, is_import, _)| *is_import);
                if !has_import {
                    let mut sites: Vec<_> = live.collect();
                    let slices = sites.len();
                    sites.sort_unstable();
                    sites.dedup();
                    prop_assert_eq!(sites.len(), slices, "a site has two slices");
                }
                for (site, _, ids) in slices {
                    ids_by_site.entry(site).or_default().extend(ids);
                }
                entry.waiting.answer_applied(reply);
            }
            for ids in ids_by_site.values() {
                prop_assert!(ids.is_sorted(), "a site's events changed their order: {ids:?}");
            }
            for (submission, ids) in expect {
                let verdicts: Vec<_> = ids.into_iter().map(verdict_of).collect();
                prop_assert_eq!(submission.applied().now_or_never(), Some(Ok(verdicts)));
            }
        }
    }

    #[test]
    fn a_command_stands_alone_and_keeps_its_place() {
        let mut queue = Queue::default();
        let options = RouterOptions::default();
        let first = submit(&mut queue, (1, 2, false), 0);
        let charge = Budget::new(&options)
            .charge(SiteId(1), 0, 1)
            .expect("the budget is empty");
        let (ticket, _submission) = Ticket::for_command(GROUP, charge);
        let command = SiteCommand {
            site: 1,
            change: None,
        };
        let place = Line::new(GROUP, 1).take_place().expect("the line is empty");
        queue.push(Item::Command {
            command,
            ticket,
            place,
        });
        let last = submit(&mut queue, (1, 2, false), 2);
        let mut kinds = Vec::new();
        while let Some(draft) = queue.take_entry(&options) {
            kinds.push(matches!(draft, Draft::Command { .. }));
        }
        assert_eq!(kinds, [false, true, false]);
        drop((first, last));
    }

    #[test]
    fn a_reply_of_the_wrong_length_answers_nobody_wrongly() {
        for reply in [&[0u8][..], &[0, 0, 0], &[0, 3], &[]] {
            let mut queue = Queue::default();
            let submission = submit(&mut queue, (1, 2, false), 0);
            let draft = queue
                .take_entry(&RouterOptions::default())
                .expect("one waits");
            let entry = draft.encode(GROUP, UnixMillis(1));
            entry.waiting.answer_applied(Bytes::copy_from_slice(reply));
            let error = submission
                .applied()
                .now_or_never()
                .expect("it was answered");
            let error = error.expect_err("the reply is malformed");
            assert!(
                matches!(error, RouteError::MalformedReply { .. }),
                "{error}"
            );
        }
    }

    #[test]
    fn a_dropped_submission_is_answered_by_whether_it_was_proposed() {
        let mut queue = Queue::default();
        let waiting = submit(&mut queue, (1, 1, false), 0);
        drop(queue);
        assert_eq!(
            waiting.applied().now_or_never(),
            Some(Err(RouteError::Stopping))
        );
        let mut queue = Queue::default();
        let proposed = submit(&mut queue, (1, 1, false), 0);
        let draft = queue
            .take_entry(&RouterOptions::default())
            .expect("one waits");
        drop(draft.encode(GROUP, UnixMillis(1)));
        let error = proposed.applied().now_or_never().expect("it was answered");
        assert!(error.expect_err("nobody applied it").may_commit());
    }
}

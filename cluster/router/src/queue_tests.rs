//! What becomes of submissions that share entries.

use futures::FutureExt as _;
use proptest::{collection::vec, prelude::*};
use ringtail_proto::{
    EventId, GroupId, UnixMillis, Verdict, VisitorId,
    stored::{PartitionEntry, partition_entry::Body},
};

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
            let (reply, slices) = apply(entry.bytes.bytes());
            prop_assert_eq!(reply.len(), entry.events);
            prop_assert!(entry.events <= batch_events_max.max(5));
            let live = slices.iter().filter(|(_, is_import, _)| !is_import).map(|(site, ..)| *site);
            let imports = slices.iter().filter(|(_, is_import, _)| *is_import).count();
            prop_assert!(imports == 0 || imports == slices.len(), "imports travel alone");
            if imports == 0 {
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
            prop_assert_eq!(submission.applied().now_or_never(), Some(Ok(Applied::Verdicts(verdicts))));
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

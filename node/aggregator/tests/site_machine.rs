//! The aggregator keeps the promises of the partitions' seam, over a real store in memory.

#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use std::{ops::ControlFlow, sync::Arc};

use ringtail_aggregator::Aggregator;
use ringtail_analytics::{RuleSet, Subject, Without};
use ringtail_checkpoint::{CheckpointStore, GroupBatch, GroupStore, MemoryStore, SiteReader};
use ringtail_partition::{ApplyAt, SiteChange, SiteMachine, SiteMachineError};
use ringtail_proto::{
    Acquisition, Client, DropReason, Event, EventFlags, EventId, GroupId, HourStart, LogIndex,
    Place, RowReader, RowWrite, SiteGeneration, SiteId, SiteRow, Text, UnixMillis, Verdict,
    VisitorId,
    stored::{BatchWriter, EventBatch, SiteCommand, SiteSettings, site_command::Change},
};

const SITE: SiteId = SiteId(3);
const HOUR: i64 = 3_600_000;
const START: i64 = 1_772_409_600_000;

struct Store(Arc<dyn GroupStore>);

impl Store {
    fn new() -> Self {
        Self(MemoryStore::new().group(GroupId(1)).unwrap())
    }

    fn reader(&self) -> SiteReader {
        SiteReader::new(self.0.snapshot(), SiteGeneration::first(SITE))
    }

    fn write(&self, writes: Vec<RowWrite>) {
        let mut batch = GroupBatch::new();
        for write in writes {
            batch.write(SiteGeneration::first(SITE), write);
        }
        self.0.commit(batch).unwrap();
    }

    fn count(&self, from: SiteRow, to: SiteRow) -> usize {
        let mut count = 0;
        self.reader()
            .range(from, to, &mut |_, _| {
                count += 1;
                ControlFlow::Continue(())
            })
            .unwrap();
        count
    }
}

fn batch(visitor: u64, time: i64) -> EventBatch {
    let event = Event {
        id: EventId(u128::from(visitor) << 64 | time as u128),
        visitor: VisitorId(visitor),
        visitor_previous: None,
        user_id: None,
        name: Text::from_static("pageview"),
        time: Some(UnixMillis(time)),
        page: Text::from_static("/"),
        hostname: Text::from_static("example.org"),
        client: Arc::new(Client::default()),
        place: Arc::new(Place::default()),
        acquisition: Arc::new(Acquisition::default()),
        properties: Vec::new(),
        revenue: None,
        scroll_depth: None,
        engaged_ms: 0,
        flags: EventFlags(0),
        dropped: None,
    };
    let mut writer = BatchWriter::new();
    writer.add(SITE, &[event], None);
    writer.finish()
}

fn at(index: u64, stamp: i64) -> ApplyAt {
    ApplyAt {
        index: LogIndex(index),
        stamp: UnixMillis(stamp),
    }
}

fn apply(
    store: &Store,
    state: &mut <Aggregator as SiteMachine>::State,
    index: u64,
    batch: &EventBatch,
    stamp: i64,
) -> Vec<Verdict> {
    let change = SiteChange::Events {
        batch,
        events: &batch.sites[0],
    };
    Aggregator
        .apply(state, at(index, stamp), change, &store.reader())
        .unwrap()
}

#[test]
fn a_checkpointed_state_loads_as_it_was() {
    let store = Store::new();
    let mut state = Aggregator
        .load(SiteGeneration::first(SITE), b"", &store.reader())
        .unwrap();
    assert_eq!(Aggregator.applied(&state), LogIndex(0));
    assert_eq!(Aggregator.condition(&state).dirty_since, None);
    let first = batch(1, START);
    assert_eq!(
        apply(&store, &mut state, 4, &first, START),
        [Verdict::Accepted]
    );
    assert_eq!(
        apply(&store, &mut state, 5, &first, START),
        [Verdict::Duplicate]
    );
    assert_eq!(Aggregator.condition(&state).dirty_since, Some(LogIndex(4)));
    let hash = Aggregator.state_hash(&state, &store.reader()).unwrap();
    let writes = Aggregator.checkpoint(&mut state, &store.reader()).unwrap();
    assert!(writes.iter().any(|write| write.row == SiteRow::Site));
    store.write(writes);
    assert_eq!(Aggregator.condition(&state).dirty_since, None);
    let mut loaded = Aggregator
        .load(SiteGeneration::first(SITE), b"", &store.reader())
        .unwrap();
    assert_eq!(Aggregator.applied(&loaded), LogIndex(5));
    assert_eq!(
        Aggregator.state_hash(&loaded, &store.reader()).unwrap(),
        hash
    );
    assert_eq!(
        apply(&store, &mut loaded, 6, &first, START),
        [Verdict::Duplicate]
    );
}

#[test]
fn a_command_answers_no_verdicts_and_moves_the_index() {
    let store = Store::new();
    let mut state = Aggregator
        .load(SiteGeneration::first(SITE), b"", &store.reader())
        .unwrap();
    let command = SiteCommand {
        site: SITE.0,
        change: Some(Change::Settings(SiteSettings {
            revision: 1,
            visit_timeout_minutes: 60,
            ..SiteSettings::default()
        })),
    };
    let change = SiteChange::Command(&command);
    let verdicts = Aggregator
        .apply(&mut state, at(9, START), change, &store.reader())
        .unwrap();
    assert!(verdicts.is_empty());
    assert_eq!(Aggregator.applied(&state), LogIndex(9));
    assert_eq!(Aggregator.view(&state).settings().visit_timeout_ms, HOUR);
}

#[test]
fn a_poisoned_entry_is_passed_and_counted() {
    let store = Store::new();
    let mut state = Aggregator
        .load(SiteGeneration::first(SITE), b"", &store.reader())
        .unwrap();
    Aggregator.skip_poisoned(&mut state, at(2, START));
    assert_eq!(Aggregator.applied(&state), LogIndex(2));
    let view = Aggregator.view(&state);
    assert_eq!(
        view.dropped().collect::<Vec<_>>(),
        [(DropReason::Poisoned, 1)]
    );
}

#[test]
fn days_that_left_the_hot_window_are_rolled_up_until_nothing_is_due() {
    let store = Store::new();
    let mut state = Aggregator
        .load(SiteGeneration::first(SITE), b"", &store.reader())
        .unwrap();
    assert!(
        Aggregator
            .roll_up(SITE, &store.reader())
            .unwrap()
            .is_empty()
    );
    for day in 0..3 {
        let time = START + day * 24 * HOUR + 12 * HOUR;
        apply(&store, &mut state, day as u64 + 1, &batch(1, time), time);
    }
    store.write(Aggregator.checkpoint(&mut state, &store.reader()).unwrap());
    loop {
        let writes = Aggregator.roll_up(SITE, &store.reader()).unwrap();
        if writes.is_empty() {
            break;
        }
        store.write(writes);
    }
    let total = |day: i64| SiteRow::DayPage(HourStart(START + day * 24 * HOUR), 0);
    assert_eq!(store.count(total(0), total(0)), 1);
    assert_eq!(store.count(total(1), total(1)), 1);
    assert_eq!(store.count(total(2), total(2)), 0, "the last day is hot");
}

#[test]
fn a_damaged_site_row_is_an_error_and_no_panic() {
    let store = Store::new();
    store.write(vec![RowWrite {
        row: SiteRow::Site,
        value: Some(vec![2, 2, 3].into()),
    }]);
    let error = Aggregator
        .load(SiteGeneration::first(SITE), b"", &store.reader())
        .unwrap_err();
    assert!(matches!(error, SiteMachineError::Damaged { .. }), "{error}");
    store.write(vec![RowWrite {
        row: SiteRow::Site,
        value: Some(vec![77, 2, 3].into()),
    }]);
    let error = Aggregator
        .load(SiteGeneration::first(SITE), b"", &store.reader())
        .unwrap_err();
    assert!(
        matches!(
            error,
            SiteMachineError::Newer {
                found: 77,
                known: 2
            }
        ),
        "{error}"
    );
}

#[test]
fn a_generation_applies_under_its_encoded_rules() {
    let rules = RuleSet {
        without: vec![Without {
            subject: Subject::visitor(VisitorId(1)),
            until: None,
        }],
        ..RuleSet::default()
    };
    let encoded = rules.encode().unwrap();
    let hash_of = |rules: &[u8], visitors: &[u64], expect: &[Verdict]| {
        let store = Store::new();
        let load = || {
            let site = SiteGeneration::first(SITE);
            Aggregator.load(site, rules, &store.reader()).unwrap()
        };
        let mut state = load();
        for (position, (visitor, expect)) in visitors.iter().zip(expect).enumerate() {
            let batch = batch(*visitor, START);
            let change = SiteChange::Events {
                batch: &batch,
                events: &batch.sites[0],
            };
            let at = at(position as u64 + 1, START);
            let verdicts = Aggregator.apply(&mut state, at, change, &store.reader());
            assert_eq!(verdicts.unwrap(), [*expect]);
            // Rules hold after a return from the store as before.
            store.write(Aggregator.checkpoint(&mut state, &store.reader()).unwrap());
            state = load();
        }
        Aggregator.state_hash(&state, &store.reader()).unwrap()
    };
    let erased = Verdict::Dropped(DropReason::Erased);
    let under = hash_of(&encoded, &[1, 2, 1], &[erased, Verdict::Accepted, erased]);
    assert_eq!(under, hash_of(&[], &[2], &[Verdict::Accepted]));
}

#[test]
fn rules_that_cannot_be_used_are_refused() {
    let load = |rules: &[u8]| {
        let store = Store::new();
        let site = SiteGeneration::first(SITE);
        let result = Aggregator.load(site, rules, &store.reader());
        result.err().unwrap()
    };
    assert!(matches!(
        load(&[200, 1]),
        SiteMachineError::Newer { found: 200, .. }
    ));
    assert!(matches!(load(&[1, 2]), SiteMachineError::Damaged { .. }));
}

//! Crashes at any point: what was acknowledged counts exactly once.

use std::{collections::BTreeMap, sync::Arc};

use proptest::prelude::*;
use ringtail_checkpoint::{EmbeddedOptions, EmbeddedStore};
use ringtail_proto::Verdict;
use ringtail_raft::Machine as _;

use super::{
    adding_machine::{PANIC, POISONED, REFUSE, stored_ids},
    world::{TestEvent, World, run},
};

const SITES: u64 = 4;

/// One step of a history.
#[derive(Clone, Debug)]
enum Step {
    /// Entries that Raft hands over together: (site, id, what to do) for each event.
    Apply(Vec<Vec<(u64, u64, u32)>>),
    /// Time passes, then a round of duties.
    Duties(u64),
    /// Power is lost; of what was not persisted this much survives.
    Crash(usize),
    /// The process is killed; the operating system keeps what was written.
    Kill,
    /// An orderly end.
    Shutdown,
}

fn any_step() -> impl Strategy<Value = Step> {
    let action = prop_oneof![20 => Just(0_u32), 1 => Just(PANIC), 1 => Just(REFUSE), 1 => Just(3_u32), 2 => Just(4_u32)];
    let event = (1..=SITES, 1..60_u64, action);
    let entry = proptest::collection::vec(event, 1..8);
    prop_oneof![
        8 => proptest::collection::vec(entry, 1..4).prop_map(Step::Apply),
        3 => (0..30_u64).prop_map(Step::Duties),
        2 => (0..6_usize).prop_map(Step::Crash),
        1 => Just(Step::Kill),
        1 => Just(Step::Shutdown),
    ]
}

/// What must come out: the plain reading of the rules, without partitions, actors or stores.
#[derive(Default)]
struct Model {
    sites: BTreeMap<u64, BTreeMap<u64, u64>>,
    poisoned: BTreeMap<u64, u64>,
}

impl Model {
    /// One entry; the verdicts of its events. An entry is poisoned for a site as a whole.
    fn apply(&mut self, events: &[TestEvent]) -> Vec<Verdict> {
        let mut verdicts = vec![Verdict::Accepted; events.len()];
        for site in 1..=SITES {
            let counted = self.sites.entry(site).or_default();
            let before = counted.clone();
            let own: Vec<usize> = (0..events.len())
                .filter(|position| events[*position].0 == site)
                .collect();
            let mut is_poisoned = false;
            for position in &own {
                let TestEvent(_, id, number, action) = events[*position];
                verdicts[*position] = match counted.insert(id, number) {
                    Some(_) => Verdict::Duplicate,
                    None => {
                        is_poisoned |= action == PANIC || action == REFUSE;
                        match action {
                            4 => Verdict::Late,
                            _ => Verdict::Accepted,
                        }
                    }
                };
            }
            if is_poisoned {
                *counted = before;
                *self.poisoned.entry(site).or_default() += 1;
                for position in own {
                    verdicts[position] = POISONED;
                }
            }
        }
        verdicts
    }
}

async fn check_history(steps: Vec<Step>) {
    let world = World::new();
    let untouched = World::new();
    let mut model = Model::default();
    let mut process = world.start().await;
    let reference = untouched.start().await;
    for step in steps {
        match step {
            Step::Apply(entries) => {
                let mut committed = Vec::new();
                let mut expected = Vec::new();
                for entry in entries {
                    let events: Vec<TestEvent> = entry
                        .iter()
                        .map(|(site, id, action)| TestEvent(*site, *id, *id, *action))
                        .collect();
                    committed.push(world.log.append_events(&events));
                    expected.push(model.apply(&events));
                    reference.apply(untouched.log.append_events(&events)).await;
                }
                let replies = process.raft.apply(committed).await.unwrap();
                let replies: Vec<_> = replies.iter().map(super::world::verdicts).collect();
                assert_eq!(replies, expected);
            }
            Step::Duties(ms) => {
                world.pass(ms);
                process.duties().await;
            }
            Step::Crash(kept) => {
                process.kill().await;
                world.memory.crash(kept);
                process = world.start().await;
            }
            Step::Kill => {
                process.kill().await;
                process = world.start().await;
            }
            Step::Shutdown => {
                process.duties.run_once(true).await.unwrap();
                process.kill().await;
                world.memory.crash(0);
                process = world.start().await;
            }
        }
    }
    for site in 1..=SITES {
        let view = process.view(site).await;
        let expected = model.sites.remove(&site).unwrap_or_default();
        assert_eq!(view.view.sum, expected.values().sum::<u64>());
        assert_eq!(view.view.count, expected.len() as u64);
        let poisoned = model.poisoned.get(&site).copied().unwrap_or_default();
        assert_eq!(view.view.poisoned, poisoned);
        let mut ids = stored_ids(&view.reader).unwrap();
        assert!(ids.is_disjoint(&view.view.new_ids), "counted in both");
        ids.extend(&view.view.new_ids);
        assert!(ids.iter().eq(expected.keys()));
        let hashes = (process.hash(site).await, reference.hash(site).await);
        assert_eq!(
            hashes.0, hashes.1,
            "site {site} differs from a run without crashes"
        );
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(192))]

    #[test]
    fn what_was_acknowledged_counts_exactly_once_through_any_crash(
        steps in proptest::collection::vec(any_step(), 1..40)
    ) {
        run(check_history(steps));
    }
}

#[test]
fn the_embedded_store_keeps_a_site_through_kills_and_checkpoints() {
    let directory = tempfile::tempdir().unwrap();
    let open = || {
        let store = EmbeddedStore::open(directory.path(), EmbeddedOptions::default());
        Arc::new(store.unwrap())
    };
    run(async {
        let world = World::new();
        let mut expected = 0;
        for round in 0..6_u64 {
            let process = world.start_over(open()).await.unwrap();
            for entry in 0..10_u64 {
                let id = round * 100 + entry;
                let events = [TestEvent(1, id, id, 0), TestEvent(2, id, 1, 0)];
                process.apply(world.log.append_events(&events)).await;
                expected += id;
                if entry == 5 && round % 2 == 0 {
                    world.pass(20);
                    let report = process.duties().await;
                    assert_eq!((report.checkpoints, report.has_raised_floor), (2, true));
                }
            }
            assert_eq!(process.sum(1).await.sum, expected);
            process.kill().await;
        }
        let process = world.start_over(open()).await.unwrap();
        assert_eq!(process.sum(1).await.sum, expected);
        assert_eq!(process.sum(2).await.count, 60);
        process.kill().await;
    });
}

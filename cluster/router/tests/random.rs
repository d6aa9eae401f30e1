//! Leaders move, connections break, quorums are lost and nodes crash, in an order that a seed decides: nothing that was
//! acknowledged is lost, and no event is called accepted twice.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::print_stderr,
    reason = "a test may fail by panic, and says its seed"
)]

mod support;

use std::{collections::BTreeSet, time::Duration};

use ringtail_proto::{SiteId, Verdict};
use ringtail_router::{Applied, Durability, Submission};
use support::{
    events,
    ring::{Dice, GROUPS, NODES, Ring, quick},
};

const STEPS: usize = 120;

/// `RINGTAIL_SEED=7 cargo test -p ringtail-router --test random` repeats one.
fn seeds() -> Vec<u64> {
    match std::env::var("RINGTAIL_SEED") {
        Ok(seed) => vec![seed.parse().unwrap()],
        Err(_) => (1..=4).collect(),
    }
}

#[actix_rt::test]
async fn whatever_breaks_nothing_acknowledged_is_lost_and_nothing_counts_twice() {
    for seed in seeds() {
        eprintln!("RINGTAIL_SEED={seed} cargo test -p ringtail-router --test random");
        run(seed).await;
    }
}

/// What became of the events of one submission.
struct Outcome {
    ids: std::ops::Range<u128>,
    is_acknowledged: bool,
    accepted: usize,
}

async fn run(seed: u64) {
    let mut dice = Dice(seed);
    let mut ring = Ring::start(quick()).await;
    let mut next = 0u128;
    let mut waiting = Vec::new();
    for _ in 0..STEPS {
        let action = dice.roll(20);
        let group = ring.groups[dice.roll(u64::from(GROUPS)) as usize].clone();
        let node = dice.roll(NODES) + 1;
        match action {
            0 | 1 => group.lead(Some(node)),
            2 => group.lead(None),
            3 => group.doubt_next(dice.roll(4) as usize),
            4 => group.set_quorum(dice.roll(3) > 0),
            5 | 6 => ring.cut(node, node % NODES + 1, dice.roll(2) == 0),
            7 => ring.isolate(node, dice.roll(2) == 0),
            8 => ring.restart(node, dice.roll(1_000)).await,
            9 => tokio::time::sleep(Duration::from_millis(dice.roll(120))).await,
            _ => {
                let ids = next..next + u128::from(dice.roll(6)) + 1;
                next = ids.end;
                let site = SiteId(dice.roll(8) + 1);
                let submitted = ring.router(node).submit(site, events(ids.clone()), None);
                waiting.push(actix_rt::spawn(outcome(ids, submitted.unwrap())));
                tokio::time::sleep(Duration::from_millis(dice.roll(8))).await;
            }
        }
    }
    for node in 1..=NODES {
        ring.isolate(node, false);
    }
    for group in &ring.groups {
        group.doubt_next(0);
        group.set_quorum(true);
        group.lead(Some(dice.roll(NODES) + 1));
    }
    let mut acknowledged = BTreeSet::new();
    let mut accepted = 0;
    for outcome in waiting {
        let outcome = outcome.await.unwrap();
        accepted += outcome.accepted;
        if outcome.is_acknowledged {
            acknowledged.extend(outcome.ids);
        }
    }
    ring.until_spools_are_empty().await;
    let counted = ring.accepted();
    let lost: Vec<_> = acknowledged.difference(&counted).collect();
    assert!(
        lost.is_empty(),
        "seed {seed}: acknowledged and lost: {lost:?}"
    );
    assert!(
        accepted <= counted.len(),
        "seed {seed}: an event was accepted twice"
    );
    let share = acknowledged.len() * 100 / next as usize;
    eprintln!("{next} events, {share} % acknowledged, {accepted} called accepted");
    assert!(share > 20, "seed {seed}: hardly anything got through");
    for (node, group) in (1..=NODES).flat_map(|node| [(node, 1), (node, 2)]) {
        let site = ring.site_of(group);
        let submitted = ring.router(node).submit(site, events(next..next + 1), None);
        next += 1;
        let committed = submitted.unwrap().committed().await;
        assert_eq!(
            committed,
            Ok(Durability::Quorum),
            "seed {seed}: all is well again"
        );
    }
    ring.stop().await;
}

async fn outcome(ids: std::ops::Range<u128>, mut submission: Submission) -> Outcome {
    let is_acknowledged = submission.committed().await.is_ok();
    let applied = submission.applied().await;
    let accepted = match &applied {
        Ok(Applied::Verdicts(verdicts)) => {
            assert_eq!(verdicts.len() as u128, ids.end - ids.start);
            let accepted = verdicts
                .iter()
                .filter(|verdict| **verdict == Verdict::Accepted);
            accepted.count()
        }
        _ => 0,
    };
    Outcome {
        ids,
        is_acknowledged,
        accepted,
    }
}

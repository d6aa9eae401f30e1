//! Crashes, restarts and floors: what was acknowledged is applied exactly once.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

mod support;

use bytes::Bytes;
use futures::FutureExt;
use ringtail_log::FaultDisk;
use ringtail_proto::{LogIndex, NodeId};
use ringtail_raft::{LogPosition, RaftError};
use support::*;

/// A small seeded generator: the same seed gives the same run.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        (self.0 >> 33) % sides
    }
}

/// Fails with the seed if an acknowledged command is not applied exactly once.
fn check(machine: &TestMachine, acknowledged: &[Bytes], proposed: u64) -> Result<(), String> {
    for command in acknowledged {
        let count = machine.count(command);
        if count != 1 {
            return Err(format!("acknowledged {command:?} is applied {count} times"));
        }
    }
    for number in 0..proposed {
        let count = machine.count(&command(number));
        if count > 1 {
            return Err(format!("command {number} is applied {count} times"));
        }
    }
    Ok(())
}

/// One life after another on the same disk. In each, commands are proposed, the machine becomes durable at random
/// moments, and the power is lost at another.
async fn crash_repeatedly(seed: u64, disk_lies: bool) -> Result<(), String> {
    let mut dice = Dice(seed);
    let mut disk = FaultDisk::new();
    let store = Store::default();
    let mut acknowledged = Vec::new();
    let mut proposed = 0;
    for _life in 0..6 {
        let node = start_node(&disk);
        let machine = TestMachine::open(&store);
        let group = open_single(&node, &machine).await;
        check(&machine, &acknowledged, proposed)?;
        if disk_lies {
            disk.lie_about_syncs();
        }
        let mut waiting = Vec::new();
        for _ in 0..20 + dice.roll(60) {
            let command = command(proposed);
            proposed += 1;
            let proposal = group.propose(command.clone()).await.unwrap();
            if dice.roll(6) == 0 {
                proposal.applied().await.unwrap();
                acknowledged.push(command);
            } else {
                waiting.push((command, proposal));
            }
            if dice.roll(12) == 0
                && let Some(floor) = machine.save()
            {
                group.raise_floor(floor).await.unwrap();
            }
        }
        disk = disk.lose_power(dice.roll(u64::MAX));
        for (command, mut proposal) in waiting {
            match proposal.committed().await {
                Ok(_) => acknowledged.push(command),
                Err(error) => assert!(error.may_commit(), "{error}"),
            }
        }
        node.shutdown().await.unwrap();
    }
    let node = start_node(&disk);
    let machine = TestMachine::open(&store);
    open_single(&node, &machine).await;
    let checked = check(&machine, &acknowledged, proposed);
    node.shutdown().await.unwrap();
    checked
}

#[tokio::test(flavor = "multi_thread")]
async fn acknowledged_commands_are_applied_exactly_once_over_power_losses() {
    for seed in 0..60 {
        if let Err(error) = crash_repeatedly(seed, false).await {
            panic!("seed {seed}: {error}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn commands_lost_by_a_lying_disk_are_noticed() {
    let mut noticed = 0;
    for seed in 0..10 {
        // A lying disk may leave a log that is refused, which is noticed too: it panics in its own task.
        let run = tokio::spawn(crash_repeatedly(seed, true));
        noticed += usize::from(!matches!(run.await, Ok(Ok(()))));
    }
    assert!(noticed > 5, "only {noticed} of 10 lying disks were noticed");
}

#[tokio::test(flavor = "multi_thread")]
async fn clean_restart_applies_only_what_is_above_the_floor() {
    let (disk, store) = (FaultDisk::new(), Store::default());
    let node = start_node(&disk);
    let machine = TestMachine::open(&store);
    let group = open_single(&node, &machine).await;
    apply_range(&group, 0..30).await;
    machine.save().unwrap();
    apply_range(&group, 30..50).await;
    node.shutdown().await.unwrap();
    let node = start_node(&disk);
    let machine = TestMachine::open(&store);
    let group = node.open_group(GROUP, machine.clone()).await.unwrap();
    // Known to be committed at the shutdown, so applied before there is a leader.
    assert_eq!(machine.commands().len(), 50);
    group.ready().await.unwrap();
    assert_eq!(apply(&group, command(50)).await, "50");
    node.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn raised_floor_purges_the_log_and_a_restart_goes_on_from_it() {
    let (disk, store) = (FaultDisk::new(), Store::default());
    let node = start_node(&disk);
    let machine = TestMachine::open(&store);
    let group = open_single(&node, &machine).await;
    apply_range(&group, 0..300).await;
    assert_eq!(node.log().kept_bytes(), 0);
    let floor = machine.save().unwrap();
    group.raise_floor(floor).await.unwrap();
    let mut next = 300;
    while node.log().kept_bytes() == 0 {
        apply_range(&group, next..next + 1).await;
        next += 1;
    }
    assert_eq!(group.metrics().floor, Some(floor));
    until(|| group.metrics().purged == Some(floor)).await;
    assert_eq!(group.metrics().voters, [NODE]);
    let disk = disk.lose_power_and_everything_unsynced();
    node.shutdown().await.unwrap();
    let node = start_node(&disk);
    let machine = TestMachine::open(&store);
    let group = open_single(&node, &machine).await;
    assert_eq!(machine.commands().len() as u64, next);
    assert_eq!(group.metrics().voters, [NODE]);
    // Raised again after the restart, by a group that knows its membership from the machine only.
    group.raise_floor(machine.save().unwrap()).await.unwrap();
    assert_eq!(apply(&group, command(next)).await, next.to_string());
    node.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn floor_may_stay_or_rise_but_not_above_what_is_applied() {
    let node = start_node(&FaultDisk::new());
    let machine = TestMachine::open(&Store::default());
    let group = open_single(&node, &machine).await;
    apply_range(&group, 0..10).await;
    let applied = machine.save().unwrap();
    let above = LogPosition {
        index: LogIndex(applied.index.0 + 1),
        ..applied
    };
    let error = group.raise_floor(above).await.unwrap_err();
    assert!(
        matches!(error, RaftError::FloorNotApplied { .. }),
        "{error}"
    );
    let below = LogPosition {
        index: LogIndex(applied.index.0 - 4),
        ..applied
    };
    group.raise_floor(applied).await.unwrap();
    group.raise_floor(below).await.unwrap();
    assert_eq!(group.metrics().floor, Some(applied));
    node.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn floor_at_an_entry_in_the_machines_hands_waits_for_its_answer() {
    let node = start_node(&FaultDisk::new());
    let machine = TestMachine::open(&Store::default());
    let group = open_single(&node, &machine).await;
    machine.close_answer_gate();
    let proposal = group.propose(command(0)).await.unwrap();
    while machine.count(&command(0)) == 0 {
        tokio::task::yield_now().await;
    }
    let floor = machine.save().unwrap();
    let mut raised = Box::pin(group.raise_floor(floor));
    assert!(raised.as_mut().now_or_never().is_none());
    machine.answer_gate.add_permits(1000);
    raised.await.unwrap();
    proposal.applied().await.unwrap();
    assert_eq!(group.metrics().floor, Some(floor));
    node.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn floor_at_an_entry_that_the_machine_gave_up_is_refused() {
    let node = start_node(&FaultDisk::new());
    let machine = TestMachine::open(&Store::default());
    let group = open_single(&node, &machine).await;
    machine.close_gate();
    let calls = machine.calls();
    let proposal = group.propose(Bytes::from("fail")).await.unwrap();
    let before = group.applied().unwrap();
    let given = LogPosition {
        index: LogIndex(before.index.0 + 1),
        ..before
    };
    while machine.calls() == calls {
        tokio::task::yield_now().await;
    }
    let mut raised = Box::pin(group.raise_floor(given));
    assert!(raised.as_mut().now_or_never().is_none());
    machine.gate.add_permits(1000);
    let error = raised.await.unwrap_err();
    assert!(
        matches!(error, RaftError::FloorNotApplied { .. }),
        "{error}"
    );
    assert!(proposal.applied().await.is_err());
    node.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn floors_raised_in_a_row_all_arrive() {
    let node = start_node(&FaultDisk::new());
    let machine = TestMachine::open(&Store::default());
    let group = open_single(&node, &machine).await;
    for number in 0..50 {
        apply(&group, command(number)).await;
        group.raise_floor(machine.save().unwrap()).await.unwrap();
    }
    assert_eq!(group.metrics().floor, group.applied());
    node.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn machine_that_lost_its_state_is_refused() {
    let disk = FaultDisk::new();
    let node = start_node(&disk);
    let machine = TestMachine::open(&Store::default());
    let group = open_single(&node, &machine).await;
    apply_range(&group, 0..10).await;
    let floor = machine.save().unwrap();
    group.raise_floor(floor).await.unwrap();
    while group.metrics().purged.is_none() {
        apply(&group, command(10)).await;
    }
    node.shutdown().await.unwrap();
    let node = start_node(&disk);
    let empty = TestMachine::open(&Store::default());
    let error = node.open_group(GROUP, empty).await.err().unwrap();
    assert_eq!(
        error.to_string(),
        format!("state of group 1 is missing: log starts after {floor}, state ends at nothing")
    );
    node.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn vote_is_on_disk_when_this_node_leads() {
    let disk = FaultDisk::new();
    let mut disk = disk;
    let store = Store::default();
    let mut term = 0;
    for _ in 0..5 {
        let node = start_node(&disk);
        let machine = TestMachine::open(&store);
        let group = open_single(&node, &machine).await;
        let elected = group.metrics().term;
        assert!(
            elected > term,
            "a restart is a new term: {elected} after {term}"
        );
        term = elected;
        disk = disk.lose_power_and_everything_unsynced();
        node.shutdown().await.unwrap();
        let vote = open_log(&disk).group(GROUP).vote().unwrap();
        assert_eq!((vote.term, vote.node), (term, NodeId(1)));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn vote_that_cannot_be_saved_elects_nobody() {
    let disk = FaultDisk::new();
    let store = Store::default();
    let node = start_node(&disk);
    open_single(&node, &TestMachine::open(&store)).await;
    node.shutdown().await.unwrap();
    let node = start_node(&disk);
    disk.fail_syncs();
    let opened = node.open_group(GROUP, TestMachine::open(&store)).await;
    node.log().failed().await;
    if let Ok(group) = opened {
        assert!(group.ready().await.is_err());
        assert!(!group.is_leader());
    }
    node.shutdown().await.unwrap();
}

//! A group of one member: proposals, their errors, reads and limits.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

mod support;

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::FutureExt;
use ringtail_log::FaultDisk;
use ringtail_proto::{ErrorKind, GroupId};
use ringtail_raft::{Peering, RaftError, RaftNode, RaftOptions};
use support::*;

#[tokio::test(flavor = "multi_thread")]
async fn command_is_applied_and_answered_by_the_machine() {
    let node = start_node(&FaultDisk::new());
    let machine = TestMachine::open(&Store::default());
    let group = open_single(&node, &machine).await;
    assert_eq!(apply(&group, command(1)).await, "0");
    let mut proposal = group.propose(command(2)).await.unwrap();
    let committed = proposal.committed().await.unwrap();
    let applied = proposal.applied().await.unwrap();
    assert_eq!(applied.position, committed);
    assert_eq!(applied.reply, "1");
    assert_eq!(group.applied(), Some(committed));
    assert_eq!(machine.commands(), [command(1), command(2)]);
    let metrics = group.metrics();
    assert_eq!((metrics.leader, metrics.is_leader), (Some(NODE), true));
    assert_eq!(metrics.voters, [NODE]);
    node.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn initialize_single_twice_is_the_same_as_once() {
    let node = start_node(&FaultDisk::new());
    let machine = TestMachine::open(&Store::default());
    let group = open_single(&node, &machine).await;
    apply(&group, command(1)).await;
    group.initialize_single().await.unwrap();
    assert_eq!(apply(&group, command(2)).await, "1");
    node.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn commands_of_one_caller_keep_their_order() {
    let node = start_node(&FaultDisk::new());
    let machine = TestMachine::open(&Store::default());
    let group = open_single(&node, &machine).await;
    let mut proposals = Vec::new();
    for number in 0..500 {
        proposals.push(group.propose(command(number)).await.unwrap());
    }
    for (number, proposal) in proposals.into_iter().enumerate() {
        assert_eq!(proposal.applied().await.unwrap().reply, number.to_string());
    }
    node.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn command_is_committed_before_it_is_applied() {
    let node = start_node(&FaultDisk::new());
    let machine = TestMachine::open(&Store::default());
    let group = open_single(&node, &machine).await;
    machine.close_gate();
    let mut proposal = group.propose(command(1)).await.unwrap();
    proposal.committed().await.unwrap();
    assert_eq!(machine.count(&command(1)), 0);
    machine.gate.add_permits(1);
    assert_eq!(proposal.applied().await.unwrap().reply, "0");
    machine.gate.add_permits(1000);
    node.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn proposals_over_the_limit_wait_for_room() {
    let options = RaftOptions {
        group_proposals_max: 3,
        ..RaftOptions::new(NODE)
    };
    let node = RaftNode::start(options, open_log(&FaultDisk::new()), Peering::none()).unwrap();
    let machine = TestMachine::open(&Store::default());
    let group = open_single(&node, &machine).await;
    machine.close_gate();
    let mut accepted = Vec::new();
    for number in 0..3 {
        accepted.push(group.propose(command(number)).await.unwrap());
    }
    let mut waiting = Box::pin(group.propose(command(3)));
    assert!(waiting.as_mut().now_or_never().is_none());
    machine.gate.add_permits(1000);
    let last = waiting.await.unwrap();
    assert_eq!(last.applied().await.unwrap().reply, "3");
    node.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn bytes_over_the_limit_wait_for_room() {
    let options = RaftOptions {
        command_bytes_max: 100,
        node_proposal_bytes_max: 150,
        ..RaftOptions::new(NODE)
    };
    let node = RaftNode::start(options, open_log(&FaultDisk::new()), Peering::none()).unwrap();
    let machine = TestMachine::open(&Store::default());
    let group = open_single(&node, &machine).await;
    machine.close_gate();
    let large = bytes::Bytes::from(vec![1; 100]);
    let first = group.propose(large.clone()).await.unwrap();
    let mut waiting = Box::pin(group.propose(large));
    assert!(waiting.as_mut().now_or_never().is_none());
    machine.gate.add_permits(1000);
    first.applied().await.unwrap();
    waiting.await.unwrap().applied().await.unwrap();
    node.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_group_that_does_not_apply_leaves_room_to_the_others() {
    let options = RaftOptions {
        command_bytes_max: 100,
        node_proposal_bytes_max: 400,
        ..RaftOptions::new(NODE)
    };
    let node = RaftNode::start(options, open_log(&FaultDisk::new()), Peering::none()).unwrap();
    let mut slow = Vec::new();
    for id in 1..=4 {
        let machine = TestMachine::open(&Store::default());
        let group = open_ready(&node, GroupId(id), &machine).await;
        slow.push((group, machine));
    }
    let large = bytes::Bytes::from(vec![1; 100]);
    // More than its share waits, and takes nothing from the others while it does.
    let (first, machine) = &slow[0];
    machine.close_gate();
    first.propose(large.clone()).await.unwrap();
    let mut waiting: Vec<_> = (0..5)
        .map(|_| Box::pin(first.propose(large.clone())))
        .collect();
    for proposal in &mut waiting {
        assert!(proposal.as_mut().now_or_never().is_none());
    }
    for (group, machine) in &slow[1..] {
        apply(group, large.clone()).await;
        machine.close_gate();
        group.propose(large.clone()).await.unwrap();
    }
    // Now the node's room is used up, but for the metadata.
    let metadata = TestMachine::open(&Store::default());
    let metadata = open_ready(&node, GroupId(0), &metadata).await;
    apply(&metadata, large.clone()).await;
    drop(waiting);
    for (_, machine) in &slow {
        machine.gate.add_permits(1000);
    }
    node.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn command_over_the_limit_is_refused_and_certainly_not_written() {
    let node = start_node(&FaultDisk::new());
    let machine = TestMachine::open(&Store::default());
    let group = open_single(&node, &machine).await;
    let large = bytes::Bytes::from(vec![1; (16 << 20) + 1]);
    let error = group.propose(large).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "command of 16777217 bytes is over the limit of 16777216"
    );
    assert!(!error.may_commit());
    assert_eq!(error.kind(), ErrorKind::TooLarge);
    node.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn group_without_a_leader_refuses_and_certainly_writes_nothing() {
    let node = start_node(&FaultDisk::new());
    let machine = TestMachine::open(&Store::default());
    let group = node.open_group(GROUP, machine.clone()).await.unwrap();
    let mut proposal = group.propose(command(1)).await.unwrap();
    let error = proposal.committed().await.unwrap_err();
    assert!(
        matches!(error, RaftError::NotLeader { leader: None, .. }),
        "{error}"
    );
    assert!(!error.may_commit());
    let error = proposal.applied().await.unwrap_err();
    assert!(matches!(error, RaftError::NotLeader { .. }), "{error}");
    assert!(matches!(
        group.read_index().await,
        Err(RaftError::NotLeader { .. })
    ));
    assert!(!group.is_leader());
    node.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn failing_disk_leaves_proposals_in_doubt_and_refuses_later_ones() {
    let disk = FaultDisk::new();
    let node = start_node(&disk);
    let machine = TestMachine::open(&Store::default());
    let group = open_single(&node, &machine).await;
    disk.fail_syncs();
    let mut proposal = group.propose(command(1)).await.unwrap();
    let error = proposal.committed().await.unwrap_err();
    assert!(error.may_commit(), "{error}");
    assert_eq!(error.kind(), ErrorKind::InDoubt);
    assert!(proposal.applied().await.unwrap_err().may_commit());
    let failure = node.log().failed().await;
    assert!(
        failure.to_string().contains("injected sync failure"),
        "{failure}"
    );
    // The group learns of it a moment later than the log; until then a proposal may still be taken, in vain.
    let error = loop {
        match group.propose(command(2)).await {
            Ok(proposal) => assert!(proposal.applied().await.is_err()),
            Err(error) => break error,
        }
    };
    assert!(!error.may_commit());
    assert!(
        error.to_string().contains("injected sync failure"),
        "{error}"
    );
    node.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn machine_that_fails_stops_its_group_only() {
    let node = start_node(&FaultDisk::new());
    let machine = TestMachine::open(&Store::default());
    let group = open_single(&node, &machine).await;
    let other_machine = TestMachine::open(&Store::default());
    let other = node.open_group(GroupId(2), other_machine).await.unwrap();
    other.initialize_single().await.unwrap();
    other.ready().await.unwrap();
    let proposal = group.propose("fail".into()).await.unwrap();
    let error = proposal.applied().await.unwrap_err();
    assert!(error.may_commit(), "{error}");
    apply(&other, command(1)).await;
    node.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn full_disk_refuses_new_commands_and_finishes_old_ones_once_there_is_space() {
    let disk = FaultDisk::new();
    let node = start_node(&disk);
    let machine = TestMachine::open(&Store::default());
    let group = open_single(&node, &machine).await;
    disk.set_free_bytes(Some(10));
    let waiting = group.propose(command(1)).await.unwrap();
    while !node.log().is_full() {
        tokio::task::yield_now().await;
    }
    let error = group.propose(command(2)).await.unwrap_err();
    assert!(matches!(error, RaftError::StorageFull), "{error}");
    assert!(!error.may_commit());
    assert_eq!(error.kind(), ErrorKind::StorageFull);
    disk.set_free_bytes(None);
    assert_eq!(waiting.applied().await.unwrap().reply, "0");
    assert_eq!(apply(&group, command(3)).await, "1");
    node.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn read_index_includes_everything_acknowledged_before() {
    let node = start_node(&FaultDisk::new());
    let machine = TestMachine::open(&Store::default());
    let group = open_single(&node, &machine).await;
    for number in 0..20 {
        let mut proposal = group.propose(command(number)).await.unwrap();
        let committed = proposal.committed().await.unwrap();
        let read = group.read_index().await.unwrap();
        assert!(read >= committed);
        assert!(group.applied() >= Some(read));
        assert_eq!(machine.count(&command(number)), 1);
    }
    node.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn idle_leader_keeps_its_lease_by_the_heartbeat_of_the_node() {
    let options = RaftOptions {
        heartbeat_interval: Duration::from_millis(10),
        election_timeout_min: Duration::from_millis(40),
        election_timeout_max: Duration::from_millis(50),
        ..RaftOptions::new(NODE)
    };
    let node = RaftNode::start(options, open_log(&FaultDisk::new()), Peering::none()).unwrap();
    let machine = TestMachine::open(&Store::default());
    let group = open_single(&node, &machine).await;
    let term = group.metrics().term;
    // The passing of time is what is tested: many times the lease.
    tokio::time::sleep(Duration::from_millis(400)).await;
    assert_eq!(apply(&group, command(1)).await, "0");
    assert_eq!(group.metrics().term, term);
    node.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn leadership_can_be_followed_from_the_start_to_the_end() {
    let node = start_node(&FaultDisk::new());
    let machine = TestMachine::open(&Store::default());
    let group = node.open_group(GROUP, machine).await.unwrap();
    let mut watch = group.watch_leadership();
    let first = watch.changed().await.unwrap();
    assert_eq!((first.leader, first.is_leader), (None, false));
    group.initialize_single().await.unwrap();
    let elected = loop {
        let current = watch.changed().await.unwrap();
        if current.is_leader {
            break current;
        }
    };
    assert_eq!(elected.leader, Some(NODE));
    assert!(elected.term > first.term);
    node.shutdown().await.unwrap();
    drop(group);
    while watch.changed().await.is_some() {}
}

#[tokio::test(flavor = "multi_thread")]
async fn group_is_opened_once_and_can_be_opened_again_after_a_failure() {
    let node = start_node(&FaultDisk::new());
    let broken = Store::default();
    broken.lock().floor.membership = Some(bytes::Bytes::from_static(&[9, 9]));
    let error = node
        .open_group(GROUP, TestMachine::open(&broken))
        .await
        .err()
        .unwrap();
    assert_eq!(
        error.to_string(),
        "stored membership cannot be read: unknown version 9"
    );
    let machine = TestMachine::open(&Store::default());
    open_single(&node, &machine).await;
    let error = node.open_group(GROUP, machine).await.err().unwrap();
    assert_eq!(error.to_string(), "group 1 is open already");
    assert!(node.group(GROUP).is_some());
    assert!(node.group(GroupId(9)).is_none());
    node.shutdown().await.unwrap();
    assert!(node.groups().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn seventeen_single_groups_are_ready_within_a_second_of_a_restart() {
    let disk = FaultDisk::new();
    let stores: Vec<Store> = (0..17).map(|_| Store::default()).collect();
    for round in 0..2 {
        let start = Instant::now();
        let node = start_node(&disk);
        let opened = stores.iter().enumerate().map(|(number, store)| {
            let (node, machine) = (&node, TestMachine::open(store));
            async move {
                let group = GroupId(number as u32);
                let group = node.open_group(group, machine).await.unwrap();
                group.initialize_single().await.unwrap();
                group.ready().await.unwrap();
                group
            }
        });
        let groups = futures::future::join_all(opened).await;
        let elapsed = start.elapsed();
        assert!(
            elapsed < Duration::from_secs(1),
            "round {round}: {elapsed:?}"
        );
        for group in &groups {
            apply(group, command(round)).await;
        }
        node.shutdown().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn options_that_cannot_work_are_refused_at_start() {
    let options = RaftOptions {
        group_proposals_max: 0,
        ..RaftOptions::new(NODE)
    };
    let log = open_log(&FaultDisk::new());
    let error = RaftNode::start(options, Arc::clone(&log), Peering::none())
        .err()
        .unwrap();
    assert!(matches!(error, RaftError::InvalidOption { .. }), "{error}");
}

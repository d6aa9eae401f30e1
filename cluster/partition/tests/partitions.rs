//! All partitions of a node over real Raft groups, the real log and the embedded store.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

mod support;

use ringtail_checkpoint::{CheckpointStore as _, EmbeddedOptions, EmbeddedStore};
use ringtail_partition::PartitionError;
use ringtail_proto::{
    ErrorKind, GroupId, RowReader as _, SiteGeneration, SiteId, SiteRow, Verdict,
};
use support::{Node, SITES, groups};

#[tokio::test(flavor = "multi_thread")]
async fn a_node_counts_restarts_and_goes_on_counting() {
    let directory = tempfile::tempdir().unwrap();
    let mut expected = vec![0; SITES as usize];
    for round in 1..=2 {
        let node = Node::start(directory.path()).await;
        assert_eq!(node.counts().await, expected);
        for site in 1..=SITES {
            assert_eq!(node.submit(site, round).await, [0, 0][..]);
            expected[site as usize - 1] += 2;
        }
        let reply = node.submit(7, 0).await;
        let poisoned = Verdict::Dropped(ringtail_proto::DropReason::Poisoned).code();
        assert_eq!(reply, [poisoned; 2][..]);
        assert_eq!(node.counts().await, expected);
        let status = node.partitions.status();
        assert_eq!(status.len(), 4);
        for partition in &status {
            assert!(partition.is_leader);
            assert_eq!(partition.active_sites, partition.dirty_sites);
        }
        let events: u64 = status.iter().map(|partition| partition.events).sum();
        assert_eq!(events, 2 * SITES + 2);
        let poisoned: u64 = status.iter().map(|group| group.poisoned_entries).sum();
        assert_eq!(poisoned, 1);
        let stamps = (1..=4).map(|group| node.partitions.stamp(GroupId(group)).unwrap().0);
        assert!(stamps.min().unwrap() >= 1_000 + round as i64);
        node.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_orderly_end_leaves_nothing_to_replay() {
    let directory = tempfile::tempdir().unwrap();
    let node = Node::start(directory.path()).await;
    for site in 1..=SITES {
        node.submit(site, 1).await;
    }
    let applied: Vec<_> = node
        .partitions
        .status()
        .iter()
        .map(|group| group.applied)
        .collect();
    node.stop().await;
    let node = Node::start(directory.path()).await;
    for (partition, before) in node.partitions.status().iter().zip(applied) {
        assert_eq!(partition.floor, before);
        assert_eq!(partition.events, 0, "an entry was replayed");
        assert!(partition.stamp.0 >= 1_001);
    }
    assert_eq!(node.counts().await, vec![2; SITES as usize]);
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_site_of_a_group_that_is_elsewhere_is_an_error() {
    let directory = tempfile::tempdir().unwrap();
    let node = Node::start(directory.path()).await;
    let error = node.partitions.stamp(GroupId(9)).unwrap_err();
    assert_eq!(error.to_string(), "group 9 is not on this node");
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shutdown_that_runs_out_of_time_lets_go_of_everything() {
    let directory = tempfile::tempdir().unwrap();
    let node = Node::start(directory.path()).await;
    for site in 1..=SITES {
        node.submit(site, 1).await;
    }
    let shutdown = node.partitions.shutdown();
    tokio::time::timeout(std::time::Duration::ZERO, shutdown)
        .await
        .unwrap_err();
    node.raft.shutdown().await.unwrap();
    drop(node);
    let store = directory.path().join("store");
    let released = async {
        while EmbeddedStore::open(&store, EmbeddedOptions::default()).is_err() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(30), released)
        .await
        .unwrap();
    let node = Node::start(directory.path()).await;
    assert_eq!(node.counts().await, vec![2; SITES as usize]);
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn partitions_are_closed_and_opened_while_the_node_runs() {
    let directory = tempfile::tempdir().unwrap();
    let node = Node::start(directory.path()).await;
    let partitions = &node.partitions;
    for site in 1..=SITES {
        node.submit(site, 1).await;
    }
    assert_eq!(partitions.hosted(), groups());
    let group = GroupId(2);
    let slots = partitions.slots().clone();
    let (away, here): (Vec<_>, Vec<_>) = (1..=SITES)
        .map(SiteId)
        .partition(|site| slots.group_of(*site) == group);
    for _ in 0..2 {
        let closing = node.raft.close_group(group);
        partitions
            .close_replica(group, false, closing)
            .await
            .unwrap();
        assert_eq!(
            partitions.hosted(),
            groups()
                .into_iter()
                .filter(|other| *other != group)
                .collect()
        );
        assert_eq!(partitions.status().len(), 3);
        let error = partitions
            .view(SiteGeneration::first(away[0]))
            .await
            .err()
            .unwrap();
        assert!(
            matches!(error, PartitionError::NotHere(GroupId(2))),
            "{error}"
        );
        assert_eq!(error.kind(), ErrorKind::Unavailable);
        assert_eq!(error.to_string(), "group 2 is not on this node");
        let again = partitions
            .close_replica(group, false, async { Ok(()) })
            .await;
        assert!(matches!(again, Err(PartitionError::NotHere(GroupId(2)))));
        assert_eq!(
            partitions
                .view(SiteGeneration::first(here[0]))
                .await
                .unwrap()
                .view,
            2
        );
        let opened = partitions.open_replica(&node.raft, group).await.unwrap();
        opened.ready().await.unwrap();
        let status = partitions
            .status()
            .into_iter()
            .find(|status| status.group == group)
            .unwrap();
        assert!(status.is_whole && status.is_leader);
        assert_eq!(status.events, 0, "everything was written before");
        assert_eq!(node.counts().await, vec![2; SITES as usize]);
    }
    // One that has left leaves nothing behind, and readers that are under way keep what they read.
    let (gone, site) = (
        GroupId(3),
        here.iter()
            .find(|site| slots.group_of(**site) == GroupId(3)),
    );
    partitions.checkpoint_site(*site.unwrap()).await.unwrap();
    let view = partitions
        .view(SiteGeneration::first(*site.unwrap()))
        .await
        .unwrap();
    let closing = node.raft.close_group(gone);
    partitions.close_replica(gone, true, closing).await.unwrap();
    let rows = node
        .store
        .group(gone)
        .unwrap()
        .snapshot()
        .rows_after(None, u64::MAX);
    assert_eq!(rows.unwrap(), []);
    assert!(view.reader.get(SiteRow::Site).unwrap().is_some());
    drop(view);
    assert_eq!(partitions.hosted().len(), 3);
    // Opening what is open is nothing.
    partitions.open_replica(&node.raft, group).await.unwrap();
    node.submit(away[0].0, 2).await;
    assert_eq!(
        partitions
            .view(SiteGeneration::first(away[0]))
            .await
            .unwrap()
            .view,
        4
    );
    partitions.shutdown().await.unwrap();
    let late = partitions.open_replica(&node.raft, GroupId(7)).await;
    assert!(matches!(late, Err(PartitionError::Stopping(GroupId(7)))));
    node.raft.shutdown().await.unwrap();
}

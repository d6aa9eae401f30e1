//! Replicas on several nodes, over real connections: joining, leaving, and equal state at equal index.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

mod support;

use std::{collections::BTreeSet, path::Path, time::Duration};

use ringtail_partition::{PartitionError, PartitionOptions, SiteHashes};
use ringtail_proto::{GroupId, LogIndex, NodeId, SiteGeneration, SiteId};
use support::{Directory, Node, SITES, groups};
use tokio::time::timeout;

/// Nothing here takes longer, or something is wrong.
const PATIENCE: Duration = Duration::from_secs(60);

/// Every round of duties writes everything and gives the log up below it.
fn eager() -> PartitionOptions {
    PartitionOptions {
        dirty_age_ms_max: 0,
        floor_age_ms_max: 0,
        ..PartitionOptions::default()
    }
}

async fn start(nodes: &Directory, id: u64, path: &Path, hosted: BTreeSet<GroupId>) -> Node {
    let directory = path.join(id.to_string());
    Node::start_in(nodes, id, &directory, hosted, eager()).await
}

/// The founder of a ring, with events whose log is given up already.
async fn founder(nodes: &Directory, path: &Path) -> Node {
    let node = start(nodes, 1, path, groups()).await;
    node.partitions.initialize_single(groups()).await.unwrap();
    node.partitions.ready().await.unwrap();
    for visitor in 1..=3 {
        for site in 1..=SITES {
            node.submit(site, visitor).await;
        }
    }
    node.partitions.run_duties().await.unwrap();
    for group in groups() {
        let raft = node.partitions.group(group).unwrap();
        let purged = async {
            while raft
                .metrics()
                .purged
                .is_none_or(|purged| purged.index < LogIndex(5))
            {
                tokio::task::yield_now().await;
            }
        };
        timeout(PATIENCE, purged)
            .await
            .expect("the log is given up");
    }
    node
}

/// The hashes of a group here once it has applied an entry.
async fn hashes_at(node: &Node, group: GroupId, index: LogIndex) -> SiteHashes {
    let raft = node.partitions.group(group).unwrap();
    let mut applied = raft.watch_applied();
    let reached = applied.wait_for(|applied| applied.is_some_and(|at| at.index >= index));
    timeout(PATIENCE, reached)
        .await
        .expect("it catches up")
        .unwrap();
    node.partitions.site_hashes(group).await.unwrap()
}

async fn assert_equal(nodes: &[&Node], group: GroupId) {
    let leader = nodes[0].partitions.group(group).unwrap();
    let index = leader.applied().unwrap().index;
    let expected = hashes_at(nodes[0], group, index).await;
    assert_eq!(expected.index, index);
    assert!(!expected.sites.is_empty());
    for node in &nodes[1..] {
        assert_eq!(hashes_at(node, group, index).await, expected);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_joiner_gets_rows_and_log_and_becomes_equal() {
    let directory = tempfile::tempdir().unwrap();
    let nodes = Directory::default();
    let first = founder(&nodes, directory.path()).await;
    let second = start(&nodes, 2, directory.path(), BTreeSet::new()).await;
    for group in groups() {
        second
            .partitions
            .open_replica(&second.raft, group)
            .await
            .unwrap();
        let site = (1..=SITES).map(SiteId);
        let site = site
            .into_iter()
            .find(|site| first.partitions.slots().group_of(*site) == group);
        let site = site.unwrap();
        let error = second
            .partitions
            .view(SiteGeneration::first(site))
            .await
            .err()
            .unwrap();
        assert!(matches!(error, PartitionError::NotWhole(_)), "{error}");
        let leader = first.partitions.group(group).unwrap();
        timeout(PATIENCE, leader.add_learner(NodeId(2)))
            .await
            .unwrap()
            .unwrap();
        // Events go on while the rows are on their way.
        first.submit(site.0, 4).await;
        assert_equal(&[&first, &second], group).await;
        let (here, there) = (
            first
                .partitions
                .view(SiteGeneration::first(site))
                .await
                .unwrap(),
            second
                .partitions
                .view(SiteGeneration::first(site))
                .await
                .unwrap(),
        );
        assert_eq!((here.view, here.stamp), (8, there.stamp));
        assert_eq!(here.view, there.view);
    }
    for status in second.partitions.status() {
        assert!(status.is_whole && !status.is_leader);
        assert_eq!(status.received_bytes, None);
        assert!(status.events <= 8, "the rows came as rows: {status:?}");
    }
    // It keeps what it got, and both go on being equal after it comes back.
    second.stop().await;
    for site in 1..=SITES {
        first.submit(site, 5).await;
    }
    let second = start(&nodes, 2, directory.path(), groups()).await;
    for group in groups() {
        assert_equal(&[&first, &second], group).await;
    }
    second.stop().await;
    first.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replica_that_lags_behind_the_log_is_brought_back_by_a_snapshot() {
    let directory = tempfile::tempdir().unwrap();
    let nodes = Directory::default();
    let first = founder(&nodes, directory.path()).await;
    let second = start(&nodes, 2, directory.path(), groups()).await;
    let group = GroupId(1);
    let leader = first.partitions.group(group).unwrap();
    timeout(PATIENCE, leader.add_learner(NodeId(2)))
        .await
        .unwrap()
        .unwrap();
    assert_equal(&[&first, &second], group).await;
    second.stop().await;
    nodes.lock().remove(&NodeId(2));
    let before = leader.applied().unwrap().index;
    for visitor in 5..=8 {
        for site in 1..=SITES {
            first.submit(site, visitor).await;
        }
        first.partitions.run_duties().await.unwrap();
    }
    let purged = async {
        while leader
            .metrics()
            .purged
            .is_none_or(|purged| purged.index <= before)
        {
            tokio::task::yield_now().await;
        }
    };
    timeout(PATIENCE, purged)
        .await
        .expect("the log is given up");
    let second = start(&nodes, 2, directory.path(), groups()).await;
    assert_equal(&[&first, &second], group).await;
    let status = second.partitions.status();
    assert!(
        status[0].events < 2 * SITES,
        "the rows came as rows: {status:?}"
    );
    second.stop().await;
    first.stop().await;
}

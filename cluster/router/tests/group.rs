//! The router over real Raft groups on a real log, under load from many threads.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test may fail by panic"
)]

mod support;

use std::{collections::BTreeSet, path::Path, sync::Arc};

use async_trait::async_trait;
use bytes::Bytes;
use parking_lot::Mutex;
use ringtail_log::{LocalDisk, LogOptions, SegmentLog};
use ringtail_proto::{GroupId, NodeId, SiteId, UnixMillis, stored::PartitionEntry};
use ringtail_raft::{
    Body, Committed, Floor, Machine, MachineError, Peering, RaftNode, RaftOptions, SnapshotSink,
    SnapshotSource,
};
use ringtail_ring::SlotTable;
use ringtail_router::{
    Durability, GroupRoute, RaftLeadership, RaftLog, Router, RouterOptions, Spawning, SystemClock,
};
use support::{events, ids_of, reply_to, verdicts_of};

const GROUPS: u32 = 4;

/// Keeps what it was given, in order.
#[derive(Default)]
struct Tally {
    entries: Mutex<Vec<PartitionEntry>>,
}

impl Tally {
    fn stamp(&self) -> UnixMillis {
        UnixMillis(self.entries.lock().last().map_or(0, |entry| entry.stamp_ms))
    }
}

#[async_trait]
impl Machine for Tally {
    async fn floor(&self) -> Result<Floor, MachineError> {
        Ok(Floor::default())
    }

    async fn apply(&self, committed: Vec<Committed>) -> Result<Vec<Bytes>, MachineError> {
        let replies = committed.into_iter().map(|entry| match entry.body {
            Body::Command(bytes) => {
                let entry = PartitionEntry::from_log(bytes).map_err(MachineError::new)?;
                let reply = reply_to(&entry);
                self.entries.lock().push(entry);
                Ok(reply)
            }
            _ => Ok(Bytes::new()),
        });
        replies.collect()
    }

    async fn snapshot(&self) -> Result<(Floor, Box<dyn SnapshotSource>), MachineError> {
        Err(MachineError::new("nobody joins"))
    }

    async fn receive_snapshot(&self) -> Result<Box<dyn SnapshotSink>, MachineError> {
        Err(MachineError::new("nobody joins"))
    }
}

struct Node {
    raft: RaftNode,
    tallies: Vec<Arc<Tally>>,
    router: Router,
}

impl Node {
    async fn start(directory: &Path) -> Self {
        let options = LogOptions::default();
        let (log, _) = SegmentLog::open(Arc::new(LocalDisk), directory, options).unwrap();
        let raft = RaftNode::start(RaftOptions::new(NodeId(1)), log, Peering::none()).unwrap();
        let (mut tallies, mut routes) = (Vec::new(), Vec::new());
        for group in (1..=GROUPS).map(GroupId) {
            let tally = Arc::new(Tally::default());
            let opened = raft.open_group(group, tally.clone()).await.unwrap();
            opened.initialize_single().await.unwrap();
            opened.ready().await.unwrap();
            let stamp = {
                let tally = tally.clone();
                Arc::new(move || tally.stamp())
            };
            routes.push(GroupRoute {
                group,
                leadership: Arc::new(RaftLeadership::new(NodeId(1), opened.clone())),
                log: Some(Arc::new(RaftLog::new(opened, stamp))),
            });
            tallies.push(tally);
        }
        let slots = SlotTable::even(GROUPS).unwrap();
        let clock = Arc::new(SystemClock::new());
        let options = RouterOptions::default();
        let seams = support::lone_seams(clock, Spawning::OwnArbiters(2));
        let router = Router::start(options, slots, routes, seams).await.unwrap();
        Self {
            raft,
            tallies,
            router,
        }
    }

    async fn stop(self) {
        assert!(
            self.router
                .shutdown(std::time::Duration::from_secs(10))
                .await
        );
        self.raft.shutdown().await.unwrap();
    }

    fn ids(&self) -> Vec<u128> {
        let tallies = self.tallies.iter();
        tallies
            .flat_map(|tally| {
                tally
                    .entries
                    .lock()
                    .iter()
                    .flat_map(ids_of)
                    .collect::<Vec<_>>()
            })
            .collect()
    }

    fn entries(&self) -> usize {
        self.tallies
            .iter()
            .map(|tally| tally.entries.lock().len())
            .sum()
    }
}

#[actix_rt::test]
async fn every_event_commits_once_and_submissions_share_entries_under_load() {
    const WRITERS: u128 = 4;
    const SUBMISSIONS: u128 = 500;
    const EVENTS: u128 = 10;
    let directory = tempfile::tempdir().unwrap();
    let node = Node::start(directory.path()).await;
    let writers = (0..WRITERS).map(|writer| {
        let router = node.router.clone();
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .build()
                .unwrap();
            runtime.block_on(async {
                let mut submissions = Vec::new();
                for number in 0..SUBMISSIONS {
                    let first = (writer * SUBMISSIONS + number) * EVENTS;
                    let ids = first..first + EVENTS;
                    let site = SiteId(number as u64 % 37);
                    submissions
                        .push((ids.clone(), router.submit(site, events(ids), None).unwrap()));
                }
                for (ids, mut submission) in submissions {
                    submission.committed().await.unwrap();
                    assert_eq!(submission.applied().await, Ok(verdicts_of(ids)));
                }
            });
        })
    });
    for writer in writers.collect::<Vec<_>>() {
        let joined = ringtail_raft::spawn_blocking(move || writer.join().is_ok()).await;
        assert!(joined.unwrap(), "a writer failed");
    }
    let ids = node.ids();
    assert_eq!(ids.len() as u128, WRITERS * SUBMISSIONS * EVENTS);
    assert_eq!(ids.iter().collect::<BTreeSet<_>>().len(), ids.len());
    assert!(
        node.entries() < (WRITERS * SUBMISSIONS) as usize / 4,
        "{} entries",
        node.entries()
    );
    for tally in &node.tallies {
        assert!(
            tally
                .entries
                .lock()
                .is_sorted_by_key(|entry| entry.stamp_ms)
        );
    }
    assert_eq!(node.router.bytes_in_flight(), 0);
    node.stop().await;
}

#[actix_rt::test]
async fn what_was_committed_is_in_the_log_after_a_restart_and_stamps_go_on() {
    let directory = tempfile::tempdir().unwrap();
    let node = Node::start(directory.path()).await;
    let mut submissions: Vec<_> = (0..50u128)
        .map(|id| {
            node.router
                .submit(SiteId(id as u64), events(id..id + 1), None)
                .unwrap()
        })
        .collect();
    for submission in &mut submissions {
        submission.committed().await.unwrap();
    }
    drop(submissions);
    node.stop().await;

    let node = Node::start(directory.path()).await;
    let ids: BTreeSet<_> = node.ids().into_iter().collect();
    assert_eq!(ids, (0..50).collect());
    let submission = node.router.submit(SiteId(1), events(50..51), None).unwrap();
    assert_eq!(submission.applied().await, Ok(verdicts_of(50..51)));
    for tally in &node.tallies {
        assert!(
            tally
                .entries
                .lock()
                .is_sorted_by_key(|entry| entry.stamp_ms)
        );
    }
    node.stop().await;
}

#[actix_rt::test]
async fn events_for_a_group_that_stopped_are_spooled() {
    let directory = tempfile::tempdir().unwrap();
    let node = Node::start(directory.path()).await;
    node.raft.shutdown().await.unwrap();
    let mut submission = node.router.submit(SiteId(1), events(0..1), None).unwrap();
    assert_eq!(submission.committed().await, Ok(Durability::Spooled));
    assert!(
        node.router
            .shutdown(std::time::Duration::from_secs(10))
            .await
    );
}

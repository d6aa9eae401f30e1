//! Events, clocks and a log that commits and applies when the test says so.

#![allow(dead_code, reason = "each test file uses its part")]

pub(crate) mod fake_group;
pub(crate) mod ring;

use std::{
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use futures::{FutureExt as _, future::BoxFuture};
use parking_lot::Mutex;
use ringtail_log::FaultDisk;
use ringtail_proto::{
    Event, EventId, GroupId, NodeId, SiteId, UnixMillis, Verdict, VisitorId,
    stored::{PartitionEntry, partition_entry::Body},
};
use ringtail_ring::SlotTable;
use ringtail_router::{
    Applied, Clock, GroupRoute, Leader, NoPeers, Proposed, ReplicatedLog, RouteError, Router,
    RouterOptions, RouterSeams, Spawning, SpoolPlace,
};
use tokio::sync::{oneshot, watch};

pub(crate) const GROUP: GroupId = GroupId(1);

pub(crate) fn events(ids: std::ops::Range<u128>) -> Vec<Event> {
    let (client, place, acquisition) = Default::default();
    ids.map(|id| Event {
        id: EventId(id),
        visitor: VisitorId(id as u64 % 10),
        visitor_previous: None,
        user_id: None,
        name: "pageview".into(),
        time: None,
        page: "/".into(),
        hostname: "a.example".into(),
        client: Arc::clone(&client),
        place: Arc::clone(&place),
        acquisition: Arc::clone(&acquisition),
        properties: Vec::new(),
        revenue: None,
        scroll_depth: None,
        engaged_ms: 0,
        flags: Default::default(),
        dropped: None,
    })
    .collect()
}

/// The verdict that the tests' apply gives: it depends on the event alone.
pub(crate) fn verdict_of(id: u128) -> Verdict {
    match id % 3 {
        0 => Verdict::Accepted,
        1 => Verdict::Duplicate,
        _ => Verdict::Late,
    }
}

pub(crate) fn verdicts_of(ids: std::ops::Range<u128>) -> Applied {
    Applied::Verdicts(ids.map(verdict_of).collect())
}

/// Ids of the entry's events, in order; none for a command.
pub(crate) fn ids_of(entry: &PartitionEntry) -> Vec<u128> {
    match &entry.body {
        Some(Body::Events(batch)) => {
            let events = batch.sites.iter().flat_map(|slice| &slice.events);
            events.map(|event| u128::from(event.id_low)).collect()
        }
        _ => Vec::new(),
    }
}

pub(crate) fn reply_to(entry: &PartitionEntry) -> Bytes {
    ids_of(entry)
        .into_iter()
        .map(|id| verdict_of(id).code())
        .collect()
}

pub(crate) struct ManualClock(pub(crate) AtomicI64);

impl Clock for ManualClock {
    fn now(&self) -> UnixMillis {
        UnixMillis(self.0.load(Ordering::SeqCst))
    }

    fn elapsed(&self) -> Duration {
        Duration::ZERO
    }
}

type Answer<T> = oneshot::Sender<Result<T, RouteError>>;

/// A log whose entries wait for the test.
pub(crate) struct HeldLog {
    entries: Mutex<Vec<HeldEntry>>,
    count: watch::Sender<usize>,
    pub(crate) stamp: AtomicI64,
    pub(crate) refusal: Mutex<Option<RouteError>>,
}

struct HeldEntry {
    entry: PartitionEntry,
    committed: Option<Answer<()>>,
    applied: Option<Answer<Bytes>>,
}

struct HeldProposal {
    committed: oneshot::Receiver<Result<(), RouteError>>,
    applied: oneshot::Receiver<Result<Bytes, RouteError>>,
}

impl HeldLog {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self {
            entries: Mutex::default(),
            count: watch::Sender::new(0),
            stamp: AtomicI64::new(0),
            refusal: Mutex::default(),
        })
    }

    /// Waits until this many entries were proposed, and returns the last of them.
    pub(crate) async fn proposed(&self, count: usize) -> PartitionEntry {
        self.count
            .subscribe()
            .wait_for(|proposed| *proposed >= count)
            .await
            .unwrap();
        self.entries.lock()[count - 1].entry.clone()
    }

    pub(crate) fn count(&self) -> usize {
        self.entries.lock().len()
    }

    pub(crate) fn entry(&self, number: usize) -> PartitionEntry {
        self.entries.lock()[number].entry.clone()
    }

    pub(crate) fn commit(&self, number: usize, answer: Result<(), RouteError>) {
        let sender = self.entries.lock()[number].committed.take().unwrap();
        sender.send(answer).unwrap();
    }

    pub(crate) fn apply(&self, number: usize, answer: Result<Bytes, RouteError>) {
        let sender = self.entries.lock()[number].applied.take().unwrap();
        sender.send(answer).unwrap();
    }

    pub(crate) fn finish(&self, number: usize) {
        self.commit(number, Ok(()));
        let reply = reply_to(&self.entry(number));
        self.apply(number, Ok(reply));
    }
}

impl ReplicatedLog for HeldLog {
    fn propose(&self, entry: Bytes) -> BoxFuture<'static, Result<Box<dyn Proposed>, RouteError>> {
        if let Some(error) = self.refusal.lock().clone() {
            return async { Err(error) }.boxed();
        }
        let (committed_sender, committed) = oneshot::channel();
        let (applied_sender, applied) = oneshot::channel();
        let mut entries = self.entries.lock();
        entries.push(HeldEntry {
            entry: PartitionEntry::from_log(entry).unwrap(),
            committed: Some(committed_sender),
            applied: Some(applied_sender),
        });
        self.count.send_replace(entries.len());
        let proposed: Box<dyn Proposed> = Box::new(HeldProposal { committed, applied });
        async { Ok(proposed) }.boxed()
    }

    fn stamp(&self) -> UnixMillis {
        UnixMillis(self.stamp.load(Ordering::SeqCst))
    }
}

impl Proposed for HeldProposal {
    fn committed(&mut self) -> BoxFuture<'_, Result<(), RouteError>> {
        async { (&mut self.committed).await.unwrap() }.boxed()
    }

    fn applied(self: Box<Self>) -> BoxFuture<'static, Result<Bytes, RouteError>> {
        async { self.applied.await.unwrap() }.boxed()
    }
}

/// A route to a group that this node always leads.
pub(crate) fn local_route(group: GroupId, log: Arc<dyn ReplicatedLog>) -> GroupRoute {
    GroupRoute {
        group,
        log: Some(log),
        leadership: Arc::new(Leader::Here),
    }
}

/// A node that is alone, with its spool on a disk in memory.
pub(crate) fn lone_seams(clock: Arc<dyn Clock>, spawning: Spawning) -> RouterSeams {
    RouterSeams {
        node: NodeId(1),
        clock,
        leaders: Arc::new(NoPeers),
        copies: Arc::new(NoPeers),
        spool: SpoolPlace {
            disk: Arc::new(FaultDisk::new()),
            directory: "/spool".into(),
        },
        spawning,
    }
}

/// A router over one held log, with a clock that stands at 1,000.
pub(crate) async fn held_router(
    options: RouterOptions,
) -> (Router, Arc<HeldLog>, Arc<ManualClock>) {
    let (log, clock) = (HeldLog::new(), Arc::new(ManualClock(AtomicI64::new(1_000))));
    let slots = SlotTable::even(1).unwrap();
    let seams = lone_seams(clock.clone(), Spawning::OwnArbiters(1));
    let router = Router::start(options, slots, vec![local_route(GROUP, log.clone())], seams)
        .await
        .unwrap();
    (router, log, clock)
}

pub(crate) const SITE: SiteId = SiteId(1);

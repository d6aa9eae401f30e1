//! What decides whether a node should lead: its clock, which stamps what a leader writes, its disk, without which a
//! leader takes nothing, and whether it is about to stop.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use futures::future::join_all;
use parking_lot::Mutex;
use ringtail_peers::{PeerState, Peers};
use ringtail_proto::{
    NodeId,
    wire::peer::{LeavingRequest, VitalsReply, VitalsRequest, look_client::LookClient},
};
use ringtail_router::{Clock, IngestGate};
use tokio::time::timeout;

use crate::health::{Health, NodeState};

/// How far a clock may be from the others'. A node beyond it leads nothing while somebody else can.
const OFFSET_MS_MAX: i64 = 500;
/// How often the others are asked.
const INTERVAL: Duration = Duration::from_secs(5);
/// An answer that took longer says too little about the time at which it was given.
const ROUND_TRIP_MAX: Duration = Duration::from_millis(300);
/// What was measured is believed for so long.
const BELIEVED_FOR: Duration = Duration::from_secs(60);
/// How long a node that stops waits for the others to take note of it.
const LEAVING_WAIT_MAX: Duration = Duration::from_millis(500);

/// How the other nodes are, as they told this one, and how it is itself.
pub(crate) struct Vitals {
    node: NodeId,
    clock: Arc<dyn Clock>,
    gate: Arc<IngestGate>,
    health: Arc<Health>,
    measured: Mutex<BTreeMap<NodeId, Measured>>,
}

#[derive(Clone, Copy)]
struct Measured {
    /// By how much it is ahead of this node's; none when that was not measured.
    offset_ms: Option<i64>,
    is_storage_full: bool,
    is_stopping: bool,
    at: Duration,
}

impl Vitals {
    pub(crate) fn new(
        node: NodeId,
        clock: Arc<dyn Clock>,
        gate: Arc<IngestGate>,
        health: Arc<Health>,
    ) -> Self {
        Self {
            node,
            clock,
            gate,
            health,
            measured: Mutex::default(),
        }
    }

    /// Runs until it is aborted.
    pub(crate) async fn measure(self: Arc<Self>, peers: Peers) {
        let mut ticks = tokio::time::interval(INTERVAL);
        loop {
            ticks.tick().await;
            let reached = peers.nodes().into_iter();
            let reached = reached.filter(|node| peers.state(*node) == PeerState::Reached);
            join_all(reached.map(|node| self.ask(&peers, node))).await;
            let known = peers.nodes();
            self.measured.lock().retain(|node, _| known.contains(node));
            if let Some(own_ms) = self.own_offset_ms() {
                metrics::gauge!("ringtail_replicate_clock_offset_ms").set(own_ms as f64);
            }
        }
    }

    async fn ask(&self, peers: &Peers, node: NodeId) {
        let Some(channel) = peers.channel(node) else {
            return;
        };
        let mut client = LookClient::new(channel);
        let begin = self.clock.elapsed();
        let asked = timeout(ROUND_TRIP_MAX, client.vitals(VitalsRequest {})).await;
        let round_trip = self.clock.elapsed().saturating_sub(begin);
        let now = self.clock.now();
        if let (Ok(Ok(reply)), true) = (asked, round_trip < ROUND_TRIP_MAX) {
            let half_ms = round_trip.as_millis() as i64 / 2;
            let told = reply.into_inner();
            let offset_ms = told.unix_ms.saturating_add(half_ms).saturating_sub(now.0);
            self.note(node, offset_ms, &told);
        }
    }

    fn note(&self, node: NodeId, offset_ms: i64, told: &VitalsReply) {
        let measured = Measured {
            offset_ms: Some(offset_ms),
            is_storage_full: told.is_storage_full,
            is_stopping: told.is_stopping,
            at: self.clock.elapsed(),
        };
        self.measured.lock().insert(node, measured);
    }

    /// This node, as it tells the others.
    pub(crate) fn own(&self) -> VitalsReply {
        VitalsReply {
            unix_ms: self.clock.now().0,
            is_storage_full: self.gate.is_storage_full(),
            is_stopping: self.health.state() >= NodeState::Draining,
        }
    }

    /// Tells the others that this node is about to stop, before they measure it.
    pub(crate) async fn take_leave(&self, peers: &Peers) {
        let channels = peers
            .nodes()
            .into_iter()
            .filter_map(|node| peers.channel(node));
        let telling = channels.map(async |channel| {
            let told = LookClient::new(channel).leaving(LeavingRequest {}).await;
            if let Err(status) = told {
                tracing::debug!(%status, "a node does not know that this one stops");
            }
        });
        // Whom it does not reach now finds out when it measures.
        let _ = timeout(LEAVING_WAIT_MAX, join_all(telling)).await;
    }

    /// A node has said that it is about to stop.
    pub(crate) fn note_leaving(&self, node: NodeId) {
        let known = self.believed(node);
        let measured = Measured {
            offset_ms: known.and_then(|measured| measured.offset_ms),
            is_storage_full: known.is_some_and(|measured| measured.is_storage_full),
            is_stopping: true,
            at: self.clock.elapsed(),
        };
        self.measured.lock().insert(node, measured);
    }

    /// False for a node whose clock is off, whose disk is full or that is about to stop, as long as nothing newer is known
    /// of it.
    pub(crate) fn may_lead(&self, node: NodeId) -> bool {
        !self.is_off(node) && !self.has_no_room_or_time(node)
    }

    fn has_no_room_or_time(&self, node: NodeId) -> bool {
        if node == self.node {
            let own = self.own();
            return own.is_storage_full || own.is_stopping;
        }
        self.believed(node)
            .is_some_and(|measured| measured.is_storage_full || measured.is_stopping)
    }

    /// What was measured of a node, unless that is too long ago.
    fn believed(&self, node: NodeId) -> Option<Measured> {
        let measured = self.measured.lock().get(&node).copied();
        measured.filter(|measured| self.is_believed(measured))
    }

    fn is_believed(&self, measured: &Measured) -> bool {
        self.clock.elapsed().saturating_sub(measured.at) < BELIEVED_FOR
    }

    /// By how much a node's clock is ahead of this node's; none when that was not measured of late.
    pub(crate) fn offset_ms(&self, node: NodeId) -> Option<i64> {
        self.offsets().get(&node).copied()
    }

    /// By how much this node's clock is ahead of the others'.
    fn own_offset_ms(&self) -> Option<i64> {
        offset_from_others(self.node, &self.offsets())
    }

    /// True when a node's clock is too far from those of its peers. Nobody is while nothing is known.
    fn is_off(&self, node: NodeId) -> bool {
        offset_from_others(node, &self.offsets())
            .is_some_and(|offset_ms| offset_ms.saturating_abs() > OFFSET_MS_MAX)
    }

    /// All clocks, relative to this node's.
    fn offsets(&self) -> BTreeMap<NodeId, i64> {
        let measured = self.measured.lock();
        let believed = measured
            .iter()
            .filter(|(_, measured)| self.is_believed(measured));
        let others = believed.filter_map(|(node, measured)| Some((*node, measured.offset_ms?)));
        others.chain([(self.node, 0)]).collect()
    }
}

/// How far a node's clock is from the median of the others'; of two in the middle the one counts that is closer to it:
/// in doubt a clock is right.
fn offset_from_others(node: NodeId, offsets: &BTreeMap<NodeId, i64>) -> Option<i64> {
    let own_ms = *offsets.get(&node)?;
    let others = offsets.iter().filter(|(other, _)| **other != node);
    let mut apart: Vec<i64> = others
        .map(|(_, other_ms)| own_ms.saturating_sub(*other_ms))
        .collect();
    apart.sort_unstable();
    let middle = apart.len().checked_sub(1)? / 2;
    let middles = apart.get(middle..=apart.len() / 2)?;
    middles
        .iter()
        .copied()
        .min_by_key(|offset_ms| offset_ms.saturating_abs())
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use ringtail_proto::UnixMillis;

    use super::*;

    fn check(offsets: &[(u64, i64)], off: &[u64]) {
        let offsets = offsets
            .iter()
            .map(|(node, ms)| (NodeId(*node), *ms))
            .collect();
        let is_off = |node: &&NodeId| {
            offset_from_others(**node, &offsets)
                .is_some_and(|ms: i64| ms.saturating_abs() > OFFSET_MS_MAX)
        };
        let found: Vec<u64> = offsets.keys().filter(is_off).map(|node| node.0).collect();
        assert_eq!(found, off, "{offsets:?}");
    }

    #[test]
    fn the_one_clock_that_is_apart_is_off_whoever_measures() {
        check(&[(1, 0), (2, 10), (3, -20)], &[]);
        check(&[(1, 0), (2, 5_000), (3, 5_010)], &[1]);
        check(&[(1, 0), (2, 20), (3, 180_000)], &[3]);
        check(&[(1, 0), (2, 20), (3, -180_000)], &[3]);
        check(&[(1, 0), (2, 20), (3, -600), (4, 10), (5, 0)], &[3]);
        // Of two nobody knows which is wrong.
        check(&[(1, 0), (2, 5_000)], &[1, 2]);
        check(&[(1, 0)], &[]);
        // Of three that all disagree neither.
        check(&[(1, 0), (2, i64::MAX), (3, i64::MIN)], &[1, 2, 3]);
    }

    struct Told(AtomicU64);

    impl Clock for Told {
        fn now(&self) -> UnixMillis {
            UnixMillis(0)
        }

        fn elapsed(&self) -> Duration {
            Duration::from_secs(self.0.load(Ordering::Relaxed))
        }
    }

    fn vitals(clock: &Arc<Told>) -> Vitals {
        Vitals::new(NodeId(1), clock.clone(), Arc::default(), Arc::default())
    }

    fn told(is_storage_full: bool, is_stopping: bool) -> VitalsReply {
        VitalsReply {
            unix_ms: 0,
            is_storage_full,
            is_stopping,
        }
    }

    fn leading(vitals: &Vitals) -> [bool; 3] {
        [1, 2, 3].map(|node| vitals.may_lead(NodeId(node)))
    }

    #[test]
    fn what_was_measured_long_ago_counts_no_longer() {
        let clock = Arc::new(Told(AtomicU64::new(100)));
        let vitals = vitals(&clock);
        for node in [2, 3] {
            vitals.note(NodeId(node), 5_000, &told(false, false));
        }
        assert!(vitals.is_off(NodeId(1)) && !vitals.is_off(NodeId(2)));
        assert_eq!(vitals.own_offset_ms(), Some(-5_000));
        assert_eq!(vitals.offset_ms(NodeId(2)), Some(5_000));
        clock.0.store(161, Ordering::Relaxed);
        assert!(!vitals.is_off(NodeId(1)));
        assert_eq!(vitals.own_offset_ms(), None);
    }

    #[test]
    fn a_node_without_room_does_not_lead() {
        let clock = Arc::new(Told(AtomicU64::new(100)));
        let vitals = vitals(&clock);
        vitals.note(NodeId(2), 0, &told(true, false));
        vitals.note(NodeId(3), 0, &told(false, false));
        assert_eq!(leading(&vitals), [true, false, true]);
        vitals.gate.set_storage_full(true);
        vitals.note(NodeId(2), 0, &told(false, false));
        assert_eq!(leading(&vitals), [false, true, true]);
        vitals.note(NodeId(3), 0, &told(true, false));
        clock.0.store(161, Ordering::Relaxed);
        vitals.gate.set_storage_full(false);
        assert_eq!(leading(&vitals), [true, true, true]);
    }

    #[test]
    fn a_node_that_is_about_to_stop_does_not_lead() {
        let clock = Arc::new(Told(AtomicU64::new(100)));
        let vitals = vitals(&clock);
        vitals.note(NodeId(2), 40, &told(false, false));
        // By its own word, which says nothing about its clock.
        vitals.note_leaving(NodeId(2));
        assert_eq!(leading(&vitals), [true, false, true]);
        assert_eq!(vitals.offset_ms(NodeId(2)), Some(40));
        vitals.note_leaving(NodeId(3));
        assert_eq!(vitals.offset_ms(NodeId(3)), None);
        // It is back, as the next measurement tells.
        vitals.note(NodeId(2), 0, &told(false, false));
        vitals.note(NodeId(3), 0, &told(false, true));
        assert_eq!(leading(&vitals), [true, true, false]);
        vitals.health.advance(NodeState::Draining);
        assert!(vitals.own().is_stopping);
        assert_eq!(leading(&vitals), [false, true, false]);
    }
}

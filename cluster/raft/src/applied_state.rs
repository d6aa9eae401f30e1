//! How far a machine has come, how far it is durable, and who was in the group at both points.

use std::collections::VecDeque;

use tokio::sync::watch;

use crate::convert;
use crate::machine::LogPosition;
use crate::types::{LogId, SnapshotMeta, StoredMembership};

/// Positions of one machine. Floor ≤ applied ≤ handed over.
pub(crate) struct AppliedState {
    /// Last entry that the machine was given; it may be applying it now.
    handed_over: Option<LogId>,
    applied: Option<LogId>,
    applied_watch: watch::Sender<Option<LogPosition>>,
    floor: Option<LogId>,
    /// The last membership at or below the floor, then all later ones.
    memberships: VecDeque<StoredMembership>,
}

impl AppliedState {
    /// What the machine had on disk. Its membership may be of a later entry than the floor.
    pub(crate) fn new(floor: Option<LogId>, membership: Option<StoredMembership>) -> Self {
        Self {
            handed_over: floor,
            applied: floor,
            applied_watch: watch::Sender::new(floor.as_ref().map(convert::position)),
            floor,
            memberships: membership.into_iter().collect(),
        }
    }

    pub(crate) fn applied(&self) -> Option<LogId> {
        self.applied
    }

    pub(crate) fn watch_applied(&self) -> watch::Receiver<Option<LogPosition>> {
        self.applied_watch.subscribe()
    }

    pub(crate) fn floor(&self) -> Option<LogId> {
        self.floor
    }

    /// The last membership that was applied.
    pub(crate) fn membership(&self) -> StoredMembership {
        self.memberships.back().cloned().unwrap_or_default()
    }

    /// True when the machine was given this entry, so that it may speak of it before its answer arrives here.
    pub(crate) fn has_handed_over(&self, entry: LogId) -> bool {
        self.handed_over >= Some(entry)
    }

    pub(crate) fn hand_over(&mut self, last: LogId) {
        self.handed_over = Some(last);
    }

    /// The machine will not answer for what it was given. Whoever waits for the answer looks again.
    pub(crate) fn take_back(&mut self) {
        self.handed_over = self.applied;
        self.applied_watch.send_modify(|_unchanged| {});
    }

    pub(crate) fn advance(&mut self, applied: LogId) {
        self.applied = Some(applied);
        self.applied_watch
            .send_replace(Some(convert::position(&applied)));
    }

    /// Replayed memberships that the machine had stored already are the same again.
    pub(crate) fn note_membership(&mut self, membership: StoredMembership) {
        let is_newer = self
            .memberships
            .back()
            .is_none_or(|last| last.log_id() < membership.log_id());
        if is_newer {
            self.memberships.push_back(membership);
        }
    }

    /// Raises the floor; false when it is not above the old one. The caller has checked it against what was applied.
    pub(crate) fn raise_floor(&mut self, floor: LogId) -> bool {
        if self.floor >= Some(floor) {
            return false;
        }
        self.floor = Some(floor);
        while self
            .memberships
            .get(1)
            .is_some_and(|next| *next.log_id() <= Some(floor))
        {
            self.memberships.pop_front();
        }
        true
    }

    /// The machine has taken over a peer's state.
    pub(crate) fn replace(&mut self, floor: LogId, membership: StoredMembership) {
        self.floor = Some(floor);
        self.memberships = VecDeque::from([membership]);
        self.handed_over = Some(floor);
        self.advance(floor);
    }

    /// The virtual snapshot: everything up to the floor.
    pub(crate) fn floor_meta(&self) -> Option<SnapshotMeta> {
        Some(SnapshotMeta {
            last_log_id: Some(self.floor?),
            last_membership: self.memberships.front().cloned().unwrap_or_default(),
        })
    }
}

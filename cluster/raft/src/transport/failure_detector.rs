//! Elections as soon as they can succeed: when the stream to a leader's node breaks, its followers stand for election
//! again and again until its lease is over, instead of waiting out their own timeout behind it.

use std::sync::Arc;
use std::time::Duration;

use ringtail_proto::NodeId;
use tokio::sync::watch;
use tokio::time::{Instant, sleep};

use super::links::OpenedLinks;
use crate::group::Group;
use crate::raft_node::{Groups, open_groups};

/// Pause between two attempts; nodes differ, so that they do not stand against each other.
const ATTEMPT_PAUSE_MIN: Duration = Duration::from_millis(20);
const ATTEMPT_PAUSE_STEP: Duration = Duration::from_millis(13);
/// Different pauses.
const ATTEMPT_PAUSES: u64 = 4;

/// The part of the time that a lost leader is looked after in which its last words may still arrive.
const LATE_SHARE: u32 = 8;
/// The part of it that the first election has before it is tried again.
const CONTESTED_SHARE: u32 = 16;

/// Watches every stream until the node stops. A lost leader is given up after `lasting`; the election timeout goes on.
pub(crate) async fn run(
    node: NodeId,
    groups: Arc<Groups>,
    mut opened: OpenedLinks,
    lasting: Duration,
) {
    let mut watchers = tokio::task::JoinSet::new();
    while let Some((peer, is_up)) = opened.recv().await {
        while watchers.try_join_next().is_some() {}
        watchers.spawn(watch_peer(node, peer, groups.clone(), is_up, lasting));
    }
}

async fn watch_peer(
    node: NodeId,
    peer: NodeId,
    groups: Arc<Groups>,
    mut is_up: watch::Receiver<bool>,
    lasting: Duration,
) {
    loop {
        if is_up.wait_for(|is_up| *is_up).await.is_err()
            || is_up.wait_for(|is_up| !*is_up).await.is_err()
        {
            return;
        }
        take_over(node, peer, &groups, lasting).await;
    }
}

/// A group whose leader's stream was lost.
struct Orphan {
    group: Group,
    /// The term it was last seen in, and since when.
    term: u64,
    since: Instant,
    /// How long the election under way has, before it is tried again: longer each time, as a slow disk may need it.
    patience: Duration,
}

impl Orphan {
    fn new(group: Group, patience: Duration) -> Self {
        Self {
            term: group.watch_leadership().current().term,
            since: Instant::now(),
            group,
            patience,
        }
    }

    /// False once the group has another leader, or hears of the old one. Not when that was at the very beginning: what
    /// was on its way still arrives. That the node is back says nothing: after a restart it leads no more.
    fn is_left(&self, peer: NodeId, lost: Instant, lasting: Duration) -> bool {
        let leader = self.group.leader();
        let since = lost.elapsed().saturating_sub(lasting / LATE_SHARE);
        let is_heard_again = || self.group.contact_age().is_some_and(|age| age < since);
        leader.is_none_or(|leader| leader == peer && !is_heard_again()) && self.group.is_voter()
    }

    /// False while an election is under way that may still succeed.
    fn is_time_to_stand(&mut self) -> bool {
        let current = self.group.watch_leadership().current();
        if current.term != self.term {
            self.term = current.term;
            self.since = Instant::now();
        }
        if current.leader.is_some() {
            return true;
        }
        let is_over = self.since.elapsed() >= self.patience;
        if is_over {
            self.since = Instant::now();
            self.patience *= 2;
        }
        is_over
    }
}

/// Stands for election in the groups that the lost node led.
async fn take_over(node: NodeId, peer: NodeId, groups: &Groups, lasting: Duration) {
    let pause = ATTEMPT_PAUSE_MIN
        + ATTEMPT_PAUSE_STEP * u32::try_from(node.0 % ATTEMPT_PAUSES).unwrap_or_default();
    let patience = lasting / CONTESTED_SHARE + pause;
    let lost = Instant::now();
    let led = |group: &Group| group.leader() == Some(peer);
    let orphans = open_groups(groups).into_iter().filter(led);
    let orphans = orphans.map(|group| Orphan::new(group, patience));
    let mut orphans: Vec<Orphan> = orphans.collect();
    while lost.elapsed() < lasting {
        orphans.retain(|orphan| orphan.is_left(peer, lost, lasting));
        if orphans.is_empty() {
            return;
        }
        for orphan in &mut orphans {
            if orphan.is_time_to_stand()
                && let Err(error) = orphan.group.stand_for_election().await
            {
                tracing::debug!(%error, "no election");
            }
        }
        sleep(pause).await;
    }
}

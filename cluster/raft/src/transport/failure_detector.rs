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

/// Stands for election in the groups that the lost node led, until they have a leader or hear of the old one. That the
/// node is back does not end it: after a restart it leads no more.
async fn take_over(node: NodeId, peer: NodeId, groups: &Groups, lasting: Duration) {
    let pause = ATTEMPT_PAUSE_MIN
        + ATTEMPT_PAUSE_STEP * u32::try_from(node.0 % ATTEMPT_PAUSES).unwrap_or_default();
    let lost = Instant::now();
    while lost.elapsed() < lasting {
        let orphans: Vec<Group> = open_groups(groups)
            .into_iter()
            .filter(|group| group.leader() == Some(peer) && group.is_voter())
            .filter(|group| group.contact_age().is_none_or(|age| age >= lost.elapsed()))
            .collect();
        if orphans.is_empty() {
            return;
        }
        for group in orphans {
            if let Err(error) = group.stand_for_election().await {
                tracing::debug!(%error, "no election");
            }
        }
        sleep(pause).await;
    }
}

//! One timer for the heartbeats of all groups, and for the streams by whose end their followers learn of a loss.
//!
//! Groups that beat on their own tick at random phases, which costs a frame per group and peer. Beating together puts
//! all groups' heartbeats to a peer into one frame. A leader that stops beating loses its lease and refuses writes, so
//! groups of one member beat too.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{MissedTickBehavior, interval};

use crate::raft_node::{Groups, open_groups};
use crate::transport::Links;

/// Nobody waits for the heartbeats of a group of one: it only has to renew its lease, which lasts four beats.
const BEATS_PER_LONE_BEAT: u32 = 2;

/// Beats for ever.
pub(crate) async fn run(groups: Arc<Groups>, links: Arc<Links>, every: Duration) {
    let mut beats = interval(every);
    beats.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut beat: u32 = 0;
    loop {
        beats.tick().await;
        beat = beat.wrapping_add(1);
        for group in open_groups(&groups) {
            let leadership = group.watch_leadership().current();
            if !leadership.is_leader {
                // A follower has nothing to say on it, but learns by its end that the leader is gone.
                if let Some(leader) = leadership.leader {
                    links.keep(leader);
                }
                continue;
            }
            if !beat.is_multiple_of(BEATS_PER_LONE_BEAT) && group.is_alone() {
                continue;
            }
            if let Err(error) = group.send_heartbeat().await {
                // A stopped group says so to everyone who uses it; here it only has no heartbeat.
                tracing::debug!(%error, "no heartbeat");
            }
        }
    }
}

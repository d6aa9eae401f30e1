//! How the groups of this node are, in numbers for Prometheus.

use std::{sync::Arc, time::Duration};

use ringtail_raft::{Group, RaftNode};

const INTERVAL: Duration = Duration::from_secs(5);

/// Runs until it is aborted.
pub(crate) async fn measure_groups(raft: Arc<RaftNode>) {
    let mut ticks = tokio::time::interval(INTERVAL);
    loop {
        ticks.tick().await;
        let groups = raft.groups();
        let led = groups.iter().filter(|group| group.is_leader());
        let leaderless = groups.iter().filter(|group| group.leader().is_none());
        let lag = led.clone().map(lag_of).max().unwrap_or(0);
        metrics::gauge!("ringtail_replicate_groups_led").set(led.count() as f64);
        metrics::gauge!("ringtail_replicate_leaderless_groups").set(leaderless.count() as f64);
        metrics::gauge!("ringtail_replicate_lag_entries").set(lag as f64);
    }
}

/// What the replica lacks that lacks most, of a group that this node leads. One of which nothing is known lacks all that
/// the log holds.
fn lag_of(group: &Group) -> u64 {
    let metrics = group.metrics();
    let last = metrics.last.unwrap_or_default().0;
    let purged = metrics.purged.map_or(0, |purged| purged.index.0);
    let replication = group.replication().unwrap_or_default();
    let lags = replication.values().map(|matched| {
        let matched = matched.map_or(purged, |index| index.0);
        last.saturating_sub(matched)
    });
    lags.max().unwrap_or(0)
}

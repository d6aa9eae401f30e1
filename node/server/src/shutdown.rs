//! The ordered stop of a node: nothing is taken, what was taken is finished, state is written, the log is closed.

use std::{fmt::Display, sync::Arc, time::Duration};

use tokio::time::timeout;

use crate::wiring::Node;

/// Longest wait for what only keeps notes up to date.
const NOTES_MAX: Duration = Duration::from_secs(1);
/// Longest wait for the sites' checkpoints: what is not written is replayed from the log at the next start.
const CHECKPOINTS_MAX: Duration = Duration::from_secs(30);
/// Longest wait for the groups and the log to close.
const CLOSE_MAX: Duration = Duration::from_secs(5);

impl Node {
    /// Stops every part, in the order of the flow. Each step has a deadline: on a full disk none of them may ever end.
    /// Failures are logged: the log on disk makes good for them.
    pub(crate) async fn stop(self, drain: Duration) {
        for duty in &self.duties {
            duty.abort();
        }
        let uses = self.metadata.flush_key_uses(self.actor());
        step("last uses of keys are not written", NOTES_MAX, uses).await;
        if !self.router.shutdown(drain).await {
            tracing::warn!(?drain, "entries were still on their way");
        }
        let checkpoints = self.partitions.shutdown();
        step("sites are not checkpointed", CHECKPOINTS_MAX, checkpoints).await;
        let floor = self.metadata.raise_floor(Arc::clone(&self.store));
        step("the metadata's floor is not raised", NOTES_MAX, floor).await;
        step(
            "groups did not stop in order",
            CLOSE_MAX,
            self.raft.shutdown(),
        )
        .await;
        tracing::info!("stopped");
    }
}

async fn step<T, E: Display>(
    failure: &str,
    longest: Duration,
    work: impl Future<Output = Result<T, E>>,
) {
    match timeout(longest, work).await {
        Ok(Ok(_)) => {}
        Ok(Err(error)) => tracing::warn!(%error, "{failure}"),
        Err(_) => tracing::warn!(?longest, "{failure} in time"),
    }
}

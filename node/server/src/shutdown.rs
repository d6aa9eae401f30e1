//! The ordered stop of a node: nothing is taken, what was taken is finished, state is written, the log is closed.

use std::{sync::Arc, time::Duration};

use crate::{health::NodeState, wiring::Node};

impl Node {
    /// Stops every part, in the order of the flow. Failures are logged: the log on disk makes good for them.
    pub(crate) async fn stop(self, drain: Duration) {
        self.health.advance(NodeState::Draining);
        for duty in &self.duties {
            duty.abort();
        }
        if let Err(error) = self.metadata.flush_key_uses(self.actor()).await {
            tracing::warn!(%error, "last uses of keys are not written");
        }
        if !self.router.shutdown(drain).await {
            tracing::warn!(?drain, "entries were still on their way");
        }
        if let Err(error) = self.partitions.shutdown().await {
            tracing::warn!(%error, "sites are not checkpointed; the next start replays more");
        }
        if let Err(error) = self.metadata.raise_floor(Arc::clone(&self.store)).await {
            tracing::warn!(%error, "the metadata's floor is not raised");
        }
        if let Err(error) = self.raft.shutdown().await {
            tracing::warn!(%error, "groups did not stop in order");
        }
        tracing::info!("stopped");
    }
}

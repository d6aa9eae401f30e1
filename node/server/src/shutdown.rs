//! The ordered stop of a node: nothing is taken, what was taken is finished, state is written, the log is closed.

use std::{fmt::Display, sync::Arc, time::Duration};

use ringtail_gateway::CollectorService;
use ringtail_proto::wire::v1::collector_server::CollectorServer;
use tokio::{
    task::AbortHandle,
    time::{sleep, timeout},
};
use tonic::server::NamedService;
use tonic_health::ServingStatus;

use crate::{health::NodeState, ring::Handover, wiring::Node};

/// A node of several that stops goes on answering for at least this long: load balancers ask once a second.
const NOTICE_MIN: Duration = Duration::from_secs(1);
/// Longest wait for others to take over what came back while the node drained.
const LAST_HANDOVER_MAX: Duration = Duration::from_secs(2);
/// Longest wait for what only keeps notes up to date.
const NOTES_MAX: Duration = Duration::from_secs(1);
/// Longest wait for the sites' checkpoints: what is not written is replayed from the log at the next start.
const CHECKPOINTS_MAX: Duration = Duration::from_secs(30);
/// Longest wait for the groups and the log to close.
const CLOSE_MAX: Duration = Duration::from_secs(5);

impl Node {
    /// Lets other nodes lead what this one leads, while it still serves, and leads nothing more from then on. A ring of one
    /// has nobody to hand over to.
    pub(crate) async fn hand_over(&self, longest: Duration) {
        if !self.is_alone() {
            tokio::join!(self.give_away(longest), sleep(NOTICE_MIN.min(longest)));
        }
    }

    async fn give_away(&self, longest: Duration) {
        self.keepers.iter().for_each(AbortHandle::abort);
        self.raft.withdraw_candidacy();
        self.vitals.take_leave(&self.peers).await;
        let handover = Handover {
            node: self.identity.node,
            raft: Arc::clone(&self.raft),
            metadata: self.metadata.clone(),
            peers: self.peers.clone(),
            vitals: Arc::clone(&self.vitals),
        };
        handover.run(longest).await;
    }

    /// Ends the streams that have no end of their own, each after its last acknowledgement.
    pub(crate) async fn close_streams(&self) {
        self.gateway.close_streams();
        let mut health = self.grpc_health.clone();
        for service in ["", CollectorServer::<CollectorService>::NAME] {
            health
                .set_service_status(service, ServingStatus::NotServing)
                .await;
            // Whoever watches it hears of that, and then the end of the stream.
            health.clear_service_status(service).await;
        }
    }

    /// Stops every part, in the order of the flow. Each step has a deadline: on a full disk none of them may ever end.
    /// Failures are logged: the log on disk makes good for them.
    pub(crate) async fn stop(self, drain: Duration) {
        let uses = self.metadata.flush_key_uses(self.actor());
        step("last uses of keys are not written", NOTES_MAX, uses).await;
        // What is on its way needs the duties: they follow the leaders that it goes to.
        if !self.router.shutdown(drain).await {
            tracing::warn!(?drain, "entries were still on their way");
        }
        tracing::debug!("nothing is on its way");
        // An election that was under way may have been won after the first handover.
        if self.health.state() != NodeState::Failed && !self.is_alone() {
            self.give_away(LAST_HANDOVER_MAX).await;
        }
        for duty in &self.duties {
            duty.abort();
        }
        tracing::debug!("duties ended");
        // Entries that still came would find nobody to apply them; they come again at the next start.
        drop(self.peer_server);
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

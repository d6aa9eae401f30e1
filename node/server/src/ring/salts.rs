//! Keeps this node's salts those of the node that leads the metadata, so that a visitor has one hash on all nodes.

use std::{sync::Arc, time::Duration};

use ringtail_gateway::Salts;
use ringtail_peers::Peers;
use ringtail_proto::{
    NodeId,
    wire::peer::{FetchSaltsRequest, ring_client::RingClient},
};
use ringtail_raft::Group;

/// How often the leader is asked: its salts are made half a day before they are used.
const INTERVAL: Duration = Duration::from_secs(20);
/// Largest file of salts and import keys.
const SALTS_BYTES_MAX: usize = 1 << 20;

/// Takes over the leader's salts.
pub(crate) struct SaltsFollower {
    pub(crate) group: Group,
    pub(crate) peers: Peers,
    pub(crate) salts: Arc<Salts>,
}

impl SaltsFollower {
    /// Runs until it is aborted.
    pub(crate) async fn run(self) {
        let mut ticks = tokio::time::interval(INTERVAL);
        loop {
            ticks.tick().await;
            if let Err(error) = self.fetch().await {
                tracing::warn!(error, "salts are not renewed");
            }
        }
    }

    /// Takes over the leader's salts now, unless this node leads.
    pub(crate) async fn fetch(&self) -> Result<(), String> {
        if self.group.is_leader() {
            return Ok(());
        }
        let leader = self.group.leader();
        self.fetch_from(leader.ok_or_else(|| "nobody leads the metadata".to_owned())?)
            .await
    }

    async fn fetch_from(&self, node: NodeId) -> Result<(), String> {
        let channel = self.peers.channel(node);
        let channel = channel.ok_or_else(|| "it is not known".to_owned())?;
        let mut client = RingClient::new(channel).max_decoding_message_size(SALTS_BYTES_MAX);
        let reply = client.fetch_salts(FetchSaltsRequest {}).await;
        let salts = reply
            .map_err(|status| status.to_string())?
            .into_inner()
            .salts;
        let text = std::str::from_utf8(&salts).map_err(|error| error.to_string())?;
        self.salts.adopt(text).map_err(|error| error.to_string())
    }
}

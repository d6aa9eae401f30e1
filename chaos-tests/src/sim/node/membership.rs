//! How a simulated node comes into the ring: who it is, the ring's birth, and what the ring has to tell it.

use std::{sync::Arc, time::Duration};

use anyhow::Context as _;
use ringtail_metadata::{
    Actor, ClusterId, Command, Description, JoinAttempt, Limits, METADATA_GROUP, Metadata, NewNode,
    NodeAddresses,
};
use ringtail_proto::NodeId;
use ringtail_raft::RaftNode;
use tokio::time::sleep;
use tonic::service::Routes;

use super::{FOUNDER, GROUPS, serving::serve};
use crate::sim::{
    host::{Host, Identity},
    ring::Ring,
};

const JOIN_RETRY_INTERVAL: Duration = Duration::from_millis(500);
const DESCRIPTION_INTERVAL: Duration = Duration::from_secs(1);
const FEATURE_LEVEL: u32 = 2;

/// Who this node is; one that is nobody yet joins the ring by a token that somebody else makes for it.
pub(super) async fn identify(ring: &Arc<Ring>, host: &Arc<Host>) -> anyhow::Result<Identity> {
    if let Some(identity) = host.identity() {
        return Ok(identity);
    }
    if host.number == FOUNDER.0 {
        let identity = Identity {
            node: FOUNDER,
            peers: Default::default(),
        };
        host.claim(identity.clone());
        return Ok(identity);
    }
    let by = Actor::new("an operator");
    loop {
        if let Some(other) = ring.anybody() {
            let joined = async {
                let (_, secret) = other
                    .metadata
                    .create_join_token("", 60_000, &by, "")
                    .await?;
                let joiner = NewNode {
                    secret,
                    attempt: JoinAttempt([host.number as u8; 16]),
                    description: description(host),
                };
                other.metadata.join(joiner, &by).await
            };
            if let Ok(joined) = joined.await {
                let identity = Identity {
                    node: joined.id,
                    peers: other.metadata.directory().peer_addresses(),
                };
                host.claim(identity.clone());
                ring.joined(host.number, joined.id);
                return Ok(identity);
            }
        }
        sleep(JOIN_RETRY_INTERVAL).await;
    }
}

pub(super) fn description(host: &Host) -> Description {
    Description {
        addresses: NodeAddresses {
            peer: format!("{}:7000", host.name()),
            ..NodeAddresses::default()
        },
        zone: String::new(),
        feature_level: FEATURE_LEVEL,
    }
}

/// Makes the ring at the first start of its first node.
pub(super) async fn found(
    raft: &RaftNode,
    metadata: &Metadata,
    description: &Description,
    actor: &Actor,
) -> anyhow::Result<()> {
    let directory = metadata.directory();
    if directory.cluster().is_some() && directory.node(FOUNDER).is_some() {
        return Ok(());
    }
    let group = raft.group(METADATA_GROUP).context("it is open")?;
    group.initialize_single().await?;
    group.ready().await?;
    if directory.cluster().is_none() {
        let init = Command::InitCluster {
            cluster: ClusterId(1),
            groups: GROUPS,
            limits: Limits::default(),
        };
        metadata.execute(init, actor, "first start").await?;
    }
    let register = Command::RegisterNode {
        node: FOUNDER,
        addresses: description.addresses.clone(),
    };
    metadata.execute(register, actor, "first start").await?;
    Ok(())
}

/// Waits until the ring has told a node that joined it what the ring is.
pub(super) async fn learn(raft: &RaftNode, metadata: &Metadata) -> anyhow::Result<()> {
    let directory = metadata.directory();
    let mut changes = metadata.changes();
    if directory.cluster().is_some() {
        return Ok(());
    }
    let server = serve(Routes::new(raft.service())).await?;
    while directory.cluster().is_none() {
        changes.changed().await?;
    }
    server.abort();
    // Its socket is free again once the task is gone.
    drop(server.await);
    Ok(())
}

/// Tells the ring where this node is, as soon as the ring can be told.
pub(super) async fn describe(metadata: Metadata, node: NodeId, mine: Description, actor: Actor) {
    loop {
        let known = metadata.directory().node(node);
        let is_right = known.is_some_and(|known| {
            known.addresses == mine.addresses && known.feature_level == mine.feature_level
        });
        if !is_right && let Err(error) = metadata.describe(node, mine.clone(), &actor).await {
            tracing::debug!(%error, "the ring is not told yet");
        }
        sleep(DESCRIPTION_INTERVAL).await;
    }
}

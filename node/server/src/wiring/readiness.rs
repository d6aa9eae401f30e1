//! From the start of the groups to readiness.

use std::{sync::Arc, time::Duration};

use futures::future::try_join_all;
use ringtail_gateway::CollectorService;
use ringtail_metadata::{Actor, Metadata, NewKey, Scope, Secret};
use ringtail_proto::wire::v1::collector_server::CollectorServer;
use ringtail_raft::Group;

use super::{Node, fail};
use crate::{
    data_directory::{DataDirectory, FOUNDER},
    exit::ExitError,
    health::NodeState,
};

/// How long a node of several waits for its groups' leaders before it serves without.
const LEADERS_WAIT_MAX: Duration = Duration::from_secs(10);
/// Pause before the ring's salts are asked for again.
const SALTS_RETRY_INTERVAL: Duration = Duration::from_millis(200);
/// How long a node may take from the start of its groups to readiness.
const READY_WAIT_MAX: Duration = Duration::from_secs(600);

impl Node {
    /// Waits until every group has applied what its log holds, then brings overdue settings in.
    pub(crate) async fn become_ready(&self, data: &DataDirectory) -> Result<(), ExitError> {
        let all = async {
            self.until_led().await?;
            if !self.is_alone() {
                self.catch_up().await?;
            }
            if let Err(error) = self.settings.push_all().await {
                tracing::warn!(%error, "settings wait for the next push");
            }
            ensure_admin_token(&self.metadata, data, &self.actor).await
        };
        tokio::time::timeout(READY_WAIT_MAX, all)
            .await
            .map_err(|_| fail("the log could not be replayed in time"))??;
        let gateway = Arc::clone(&self.gateway);
        // Rules and databases are loaded beside the first requests, which wait only for what they need.
        tokio::task::spawn_blocking(move || gateway.warm_up());
        self.health.advance(NodeState::Ready);
        self.grpc_health
            .set_serving::<CollectorServer<CollectorService>>()
            .await;
        Ok(())
    }

    /// Waits until every group here has a leader. In a ring of several nodes a group may have none for long: then the
    /// node goes on, and what is sent to the group waits in the spool.
    async fn until_led(&self) -> Result<(), ExitError> {
        let groups = self.raft.groups();
        let led = try_join_all(groups.iter().map(Group::ready));
        if self.is_alone() {
            return led.await.map(drop).map_err(fail);
        }
        match tokio::time::timeout(LEADERS_WAIT_MAX, led).await {
            Ok(led) => led.map(drop).map_err(fail),
            Err(_elapsed) => {
                tracing::warn!("some groups have no leader yet");
                Ok(())
            }
        }
    }

    /// Sites, keys and salts have to be the ring's before the first event is taken. A node that cannot ask for as long as
    /// this goes on with what it has: the others may be gone.
    async fn catch_up(&self) -> Result<(), ExitError> {
        let salts = self.salts_follower()?;
        let caught_up = async {
            if let Err(error) = self.metadata.read_barrier().await {
                tracing::warn!(%error, "metadata is that of the last run");
            }
            while let Err(error) = salts.fetch().await {
                tracing::debug!(error, "salts are asked for again");
                tokio::time::sleep(SALTS_RETRY_INTERVAL).await;
            }
        };
        if tokio::time::timeout(LEADERS_WAIT_MAX, caught_up)
            .await
            .is_err()
        {
            tracing::warn!("salts are those of the last run, or new ones");
        }
        Ok(())
    }
}

/// Makes the admin token at the first start. It is written down before its key exists, so that a crash in between
/// leaves a token that the next start makes good.
async fn ensure_admin_token(
    metadata: &Metadata,
    data: &DataDirectory,
    actor: &Actor,
) -> Result<(), ExitError> {
    let secret = match data.admin_token()? {
        Some(text) => Secret::from_text(&text),
        None if metadata.directory().key_count() > 0 || data.identity.node != FOUNDER => {
            return Ok(());
        }
        None => {
            let secret = metadata.new_secret(Scope::Admin);
            data.write_admin_token(secret.expose())?;
            secret
        }
    };
    let key = NewKey {
        name: "admin.token".to_owned(),
        scope: Scope::Admin,
        site: None,
        expires: None,
    };
    metadata
        .adopt_key(key, &secret, actor, "first start")
        .await
        .map_err(fail)?;
    Ok(())
}

//! Brings sites' settings from the metadata into their partitions' logs, which have no common order.

use std::sync::Arc;

use futures::{StreamExt as _, stream};
use ringtail_metadata::{Actor, Directory, Metadata, SettingsPush, settings_of};
use ringtail_proto::{ErrorKind, SiteId};
use ringtail_router::{RouteError, Router};

use crate::api_error::ApiError;

/// Sites of one round.
const ROUND_SITES_MAX: usize = 1_000;
/// Commands on their way at once.
const IN_FLIGHT_MAX: usize = 256;

/// Pushes settings: after each change, and at the start for whatever a crash left behind.
pub(crate) struct SettingsPusher {
    metadata: Metadata,
    directory: Arc<Directory>,
    router: Router,
    node: Actor,
}

impl SettingsPusher {
    pub(crate) fn new(metadata: Metadata, router: Router, node: Actor) -> Self {
        let directory = metadata.directory();
        Self {
            metadata,
            directory,
            router,
            node,
        }
    }

    /// Pushes one site's newest settings and notes that they arrived.
    pub(crate) async fn push(&self, site: SiteId) -> Result<(), ApiError> {
        let Some(site) = self.directory.site(site) else {
            return Err(ApiError::new(
                ErrorKind::NotFound,
                format!("site {site} is gone"),
            ));
        };
        if !site.awaits_settings() {
            return Ok(());
        }
        let settled = self.send(settings_of(&site)?).await?;
        Ok(self.metadata.settle(vec![settled], &self.node).await?)
    }

    /// Pushes all settings that wait; returns the number of sites. What arrived is noted, whatever fails beside it.
    pub(crate) async fn push_all(&self) -> Result<usize, ApiError> {
        let mut count = 0;
        loop {
            let pushes = self.directory.settings_to_push(ROUND_SITES_MAX)?;
            if pushes.is_empty() {
                return Ok(count);
            }
            let sent: Vec<Result<_, RouteError>> = stream::iter(pushes)
                .map(|push| self.send(push))
                .buffer_unordered(IN_FLIGHT_MAX)
                .collect()
                .await;
            let mut settled = Vec::with_capacity(sent.len());
            let mut failure = None;
            for answer in sent {
                match answer {
                    Ok(site) => settled.push(site),
                    Err(error) => failure = Some(error),
                }
            }
            count += settled.len();
            self.metadata.settle(settled, &self.node).await?;
            if let Some(error) = failure {
                return Err(error.into());
            }
        }
    }

    /// True while a partition's log lacks settings and it is for this node to send them: of several, the one that leads
    /// the metadata does.
    pub(crate) fn is_due(&self) -> bool {
        self.directory.awaiting_settings_count() > 0 && self.metadata.is_leader()
    }

    async fn send(&self, push: SettingsPush) -> Result<(SiteId, u64), RouteError> {
        self.router
            .command(push.site, push.command)?
            .applied()
            .await?;
        Ok((push.site, push.revision))
    }
}

impl From<RouteError> for ApiError {
    fn from(error: RouteError) -> Self {
        match error.kind() {
            ErrorKind::Internal => Self::internal(error),
            kind => Self::new(kind, error),
        }
    }
}

//! The keys of imports: made by one node, held by all that take lines, forgotten by all at the end.

use std::sync::Arc;

use bytes::Bytes;
use ringtail_gateway::ImportKey;
use ringtail_metadata::METADATA_GROUP;
use ringtail_proto::{ErrorKind, LogIndex, NodeId, SiteId, wire::peer};
use ringtail_query::Seen;
use tokio::task::spawn_blocking;

use super::Imports;
use crate::{api_error::ApiError, reading::to_wire};

impl Imports {
    /// Visitors have one hash whichever node takes the lines: the leader of the metadata makes all keys, as it makes all
    /// salts, and the others take them over with the salts.
    pub(super) async fn agree_on_key(&self, site: SiteId, source: &str) -> Result<(), ApiError> {
        if self.gateway.holds_import_key(site, source) {
            return Ok(());
        }
        let Some(keeper) = self.keeper()? else {
            return Ok(());
        };
        let request = peer::ImportKeyRequest {
            site: site.0,
            source: Bytes::copy_from_slice(source.as_bytes()),
        };
        let asked = self.peers.ask_one(keeper, |mut client| {
            Box::pin(async move { client.import_key(request).await })
        });
        let key: [u8; 16] = (&*asked.await?.key)
            .try_into()
            .map_err(|_| ApiError::internal("an import's key has another length than 16 bytes"))?;
        let (gateway, source) = (Arc::clone(&self.gateway), source.to_owned());
        spawn_blocking(move || gateway.adopt_import_key(site, &source, ImportKey::from_bytes(key)))
            .await
            .map_err(ApiError::internal)?
            .map_err(ApiError::invalid)
    }

    /// The node that makes the keys; none when it is this one.
    fn keeper(&self) -> Result<Option<NodeId>, ApiError> {
        let leader = self.local.leader(METADATA_GROUP);
        let leader = leader.ok_or_else(|| {
            let message = "nobody leads the metadata, who makes the keys of imports";
            ApiError::new(ErrorKind::Unavailable, message)
        })?;
        Ok((leader != self.local.node()).then_some(leader))
    }

    /// The key of an import, if this node makes them.
    pub(crate) async fn key_here(&self, site: SiteId, source: &str) -> Result<ImportKey, ApiError> {
        if let Some(keeper) = self.keeper()? {
            let message = format!("node {keeper} makes the keys of imports");
            return Err(ApiError::new(ErrorKind::Unavailable, message));
        }
        let (gateway, source) = (Arc::clone(&self.gateway), source.to_owned());
        spawn_blocking(move || gateway.import_key(site, &source))
            .await
            .map_err(ApiError::internal)?
            .map_err(ApiError::invalid)
    }

    /// Every replica shows the import's events from now on, and no node holds its key.
    pub(super) async fn finish_everywhere(
        &self,
        site: SiteId,
        source: &str,
        index: LogIndex,
    ) -> Result<(), ApiError> {
        let seen = Seen {
            index,
            ..Seen::default()
        };
        let request = peer::FinishImportRequest {
            site: site.0,
            source: Bytes::copy_from_slice(source.as_bytes()),
            seen: Some(to_wire(seen)),
        };
        // The others take over what the keeper of the keys holds, so it has to know.
        let keeper = self.keeper()?;
        if let Some(keeper) = keeper {
            let request = request.clone();
            let finished = self.peers.ask_one(keeper, |mut client| {
                Box::pin(async move { client.finish_import(request).await })
            });
            finished.await?;
        }
        let here = self.finish_here(site, source, seen);
        tokio::join!(here, self.peers.finish_import(&request, keeper)).0
    }

    /// This node's replica shows all events up to what was seen; the import's key is forgotten here.
    pub(crate) async fn finish_here(
        &self,
        site: SiteId,
        source: &str,
        seen: Seen,
    ) -> Result<(), ApiError> {
        let (gateway, source) = (Arc::clone(&self.gateway), source.to_owned());
        spawn_blocking(move || gateway.finish_import(site, &source))
            .await
            .map_err(ApiError::internal)?
            .map_err(ApiError::internal)?;
        match self.local.holds(site) {
            true => self.local.merge_late(site, seen).await,
            false => Ok(()),
        }
    }
}

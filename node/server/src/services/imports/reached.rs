//! How far an import has come.

use bytes::Bytes;
use ringtail_proto::{LogIndex, SiteId, wire::peer};
use tokio::time::Instant;

use super::Imports;
use crate::{api_error::ApiError, import_position::ImportPosition, reading::GLANCE_WAIT_MAX};

/// How far an import has come, and the entry of the site's partition at which that is so.
pub(crate) struct Reached {
    pub(crate) position: ImportPosition,
    pub(crate) index: LogIndex,
}

impl Imports {
    /// How far an import has come, as the leader of the site's partition knows it: whatever was acknowledged is included.
    pub(super) async fn reached(&self, site: SiteId, source: &str) -> Result<Reached, ApiError> {
        match self.reached_here(site, source).await {
            Err(error) if error.may_be_answered_elsewhere() => {}
            here => return here,
        }
        let deadline = Instant::now() + GLANCE_WAIT_MAX;
        let asked = self.peers.ask(site, deadline, |mut client| {
            let request = peer::ImportPositionRequest {
                site: site.0,
                source: Bytes::copy_from_slice(source.as_bytes()),
            };
            Box::pin(async move { client.import_position(request).await })
        });
        let reply = asked.await?;
        let position = ImportPosition {
            lines: reply.lines,
            hash: hash_of(&reply.hash)?,
        };
        Ok(Reached {
            position,
            index: LogIndex(reply.index),
        })
    }

    /// How far an import has come, if this node leads the site's partition.
    pub(crate) async fn reached_here(
        &self,
        site: SiteId,
        source: &str,
    ) -> Result<Reached, ApiError> {
        let at = self.local.view_of_leader(site).await?;
        let position = match at.view.import(source.as_bytes()) {
            Some(progress) => ImportPosition {
                lines: progress.last_line,
                hash: hash_of(&progress.prefix_hash)?,
            },
            None => ImportPosition::default(),
        };
        Ok(Reached {
            position,
            index: at.index,
        })
    }
}

fn hash_of(bytes: &[u8]) -> Result<[u8; 32], ApiError> {
    let hash = bytes.try_into();
    hash.map_err(|_| ApiError::internal("an import's hash has another length than 32 bytes"))
}

//! Imports of access logs: from a client's chunks of lines to marked batches in the partition's log.

mod batches;
mod counts;
mod keys;
mod reached;

use std::sync::Arc;

use bytes::Bytes;
use ringtail_gateway::{Gateway, Importer};
use ringtail_metadata::{Scope, Site};
use ringtail_proto::{
    ErrorKind, SiteId,
    stored::{SiteCommand, site_command::Change},
};
use ringtail_router::{Router, Submission};
use tokio::{sync::Semaphore, task::spawn_blocking};

use self::batches::{Batch, batches_of};
pub(crate) use self::counts::ImportCounts;
use super::{Access, Caller};
use crate::{
    api_error::ApiError,
    health::Health,
    import_position::ImportPosition,
    reading::{LocalReplicas, PeerReplicas},
};

/// Chunks that are worked on at once, on this node.
const CHUNKS_MAX: usize = 8;
const SOURCE_BYTES_MAX: usize = 128;

/// Takes imports.
#[derive(Clone)]
pub(crate) struct Imports {
    pub(crate) access: Access,
    health: Arc<Health>,
    gateway: Arc<Gateway>,
    router: Router,
    local: LocalReplicas,
    peers: PeerReplicas,
    chunks: Arc<Semaphore>,
}

/// Whole lines that follow a position.
pub(crate) struct ImportChunk {
    pub(crate) after: ImportPosition,
    pub(crate) bytes: Bytes,
}

impl Imports {
    pub(crate) fn new(
        access: Access,
        health: Arc<Health>,
        gateway: Arc<Gateway>,
        router: Router,
        local: LocalReplicas,
        peers: PeerReplicas,
    ) -> Self {
        Self {
            access,
            health,
            gateway,
            router,
            local,
            peers,
            chunks: Arc::new(Semaphore::new(CHUNKS_MAX)),
        }
    }

    /// Where an import stands; at the beginning when it is new.
    pub(crate) async fn start(
        &self,
        caller: &Caller,
        domain: &str,
        source: &str,
    ) -> Result<ImportPosition, ApiError> {
        let site = self.site(caller, domain, source)?;
        Ok(self.reached(site.id, source).await?.position)
    }

    /// Takes lines, which have to follow where the import stands; answers when they are applied.
    pub(crate) async fn lines(
        &self,
        caller: &Caller,
        domain: &str,
        source: &str,
        chunk: ImportChunk,
    ) -> Result<ImportCounts, ApiError> {
        let site = self.site(caller, domain, source)?;
        let _permit = self.chunks.acquire().await.map_err(ApiError::internal)?;
        let position = self.reached(site.id, source).await?.position;
        if position != chunk.after {
            let message = format!(
                "the import {source} stands at line {}, the lines follow line {} of another file or order",
                position.lines, chunk.after.lines
            );
            return Err(ApiError::new(ErrorKind::Conflict, message));
        }
        let importer = self.importer(&site, source).await?;
        let source = Bytes::copy_from_slice(source.as_bytes());
        let (batches, counts) = spawn_blocking(move || batches_of(&importer, &source, &chunk))
            .await
            .map_err(ApiError::internal)?;
        self.submit(site.id, batches, counts).await
    }

    /// Ends an import: everything is merged into the hours it belongs to, and the visitors' key is forgotten.
    pub(crate) async fn finish(
        &self,
        caller: &Caller,
        domain: &str,
        source: &str,
    ) -> Result<ImportPosition, ApiError> {
        let site = self.site(caller, domain, source)?;
        let command = SiteCommand {
            site: site.id.0,
            change: Some(Change::ImportFinished(Bytes::copy_from_slice(
                source.as_bytes(),
            ))),
        };
        self.router.command(site.id, command)?.applied().await?;
        let reached = self.reached(site.id, source).await?;
        self.finish_everywhere(site.id, source, reached.index)
            .await?;
        Ok(reached.position)
    }

    fn site(&self, caller: &Caller, domain: &str, source: &str) -> Result<Arc<Site>, ApiError> {
        self.health.require_ready()?;
        check_source(source)?;
        self.access.site(caller, Scope::Write, domain)
    }

    /// The source of an import as another node names it. Nothing is kept for what is no site, and a site that is not known
    /// here may be news.
    pub(crate) fn checked<'a>(&self, site: SiteId, source: &'a [u8]) -> Result<&'a str, ApiError> {
        let source = str::from_utf8(source).map_err(|_| ApiError::invalid("a source is text"))?;
        check_source(source)?;
        if self.access.knows(site) {
            return Ok(source);
        }
        let message = format!("site {site} is not known here");
        Err(ApiError::new(ErrorKind::Unavailable, message))
    }

    async fn importer(&self, site: &Site, source: &str) -> Result<Importer, ApiError> {
        let domain = site.domain.to_string();
        let rules = self.gateway.site(&domain).ok_or_else(|| {
            let message = format!("site {domain} does not take events yet");
            ApiError::new(ErrorKind::Unavailable, message)
        })?;
        self.agree_on_key(site.id, source).await?;
        self.gateway
            .importer(rules, source)
            .map_err(ApiError::invalid)
    }

    /// Sends the batches in order and waits for all verdicts.
    async fn submit(
        &self,
        site: SiteId,
        batches: Vec<Batch>,
        mut counts: ImportCounts,
    ) -> Result<ImportCounts, ApiError> {
        let submissions = batches
            .into_iter()
            .map(|batch| self.router.submit(site, batch.events, Some(batch.mark)))
            .collect::<Result<Vec<Submission>, _>>()?;
        for submission in submissions {
            let verdicts = submission.applied().await?.verdicts().ok_or_else(|| {
                let message = "the lines are written, but what was counted is not known: ask where the import stands";
                ApiError::new(ErrorKind::InDoubt, message)
            })?;
            for verdict in verdicts {
                counts.count(verdict);
            }
        }
        Ok(counts)
    }
}

fn check_source(source: &str) -> Result<(), ApiError> {
    if source.is_empty() || source.len() > SOURCE_BYTES_MAX {
        let message = format!("a source has 1 to {SOURCE_BYTES_MAX} bytes");
        return Err(ApiError::invalid(message));
    }
    Ok(())
}

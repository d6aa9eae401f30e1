//! Imports of access logs: from a client's chunks of lines to marked batches in the partition's log.

use std::{collections::BTreeMap, sync::Arc};

use bytes::Bytes;
use ringtail_gateway::{Gateway, ImportChunk as Enriched, ImportKey, Importer};
use ringtail_metadata::{METADATA_GROUP, Scope, Site};
use ringtail_proto::{
    DropReason, ErrorKind, Event, LogIndex, NodeId, SiteId, Verdict,
    stored::{ImportMark, SiteCommand, site_command::Change},
    wire::peer,
};
use ringtail_query::Seen;
use ringtail_router::{Router, Submission};
use serde::Serialize;
use tokio::{sync::Semaphore, task::spawn_blocking};

use super::{Access, Caller};
use crate::{
    api_error::ApiError,
    health::Health,
    import_position::{ImportPosition, without_line_end},
    reading::{LocalReplicas, PeerReplicas},
};

/// Chunks that are worked on at once, on this node.
const CHUNKS_MAX: usize = 8;
/// Lines, and so events, of one marked batch.
const BATCH_LINES_MAX: usize = 2_000;
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

/// How far an import has come, and the entry of the site's partition at which that is so.
pub(crate) struct Reached {
    pub(crate) position: ImportPosition,
    pub(crate) index: LogIndex,
}

/// What became of a chunk's lines.
#[derive(Debug, Default, Serialize)]
pub(crate) struct ImportCounts {
    accepted: u64,
    duplicates: u64,
    dropped: BTreeMap<&'static str, u64>,
}

impl ImportCounts {
    fn drop(&mut self, reason: DropReason) {
        *self.dropped.entry(reason.name()).or_default() += 1;
    }

    fn count(&mut self, verdict: Verdict) {
        match verdict {
            Verdict::Accepted | Verdict::Late => self.accepted += 1,
            Verdict::Duplicate => self.duplicates += 1,
            Verdict::Dropped(reason) => self.drop(reason),
        }
    }
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
        if source.is_empty() || source.len() > SOURCE_BYTES_MAX {
            let message = format!("a source has 1 to {SOURCE_BYTES_MAX} bytes");
            return Err(ApiError::invalid(message));
        }
        self.access.site(caller, Scope::Write, domain)
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

    /// Visitors have one hash whichever node takes the lines: the leader of the metadata makes all keys, as it makes all
    /// salts, and the others take them over with the salts.
    async fn agree_on_key(&self, site: SiteId, source: &str) -> Result<(), ApiError> {
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

    /// How far an import has come, as the leader of the site's partition knows it: whatever was acknowledged is included.
    async fn reached(&self, site: SiteId, source: &str) -> Result<Reached, ApiError> {
        match self.reached_here(site, source.as_bytes()).await {
            Err(error) if error.may_be_answered_elsewhere() => {}
            here => return here,
        }
        let asked = self.peers.ask(site, |mut client| {
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
        source: &[u8],
    ) -> Result<Reached, ApiError> {
        let at = self.local.view_of_leader(site).await?;
        let position = match at.view.import(source) {
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

    /// Every replica shows the import's events from now on, and no node holds its key.
    async fn finish_everywhere(
        &self,
        site: SiteId,
        source: &str,
        index: LogIndex,
    ) -> Result<(), ApiError> {
        let request = peer::FinishImportRequest {
            site: site.0,
            source: Bytes::copy_from_slice(source.as_bytes()),
            seen: Some(peer::Seen {
                index: index.0,
                complete: 0,
            }),
        };
        let seen = Seen {
            index,
            ..Seen::default()
        };
        // The others take over what the keeper of the keys holds, so it has to know.
        if let Some(keeper) = self.keeper()? {
            let request = request.clone();
            let finished = self.peers.ask_one(keeper, |mut client| {
                Box::pin(async move { client.finish_import(request).await })
            });
            finished.await?;
        }
        let here = self.finish_here(site, source, seen);
        tokio::join!(here, self.peers.finish_import(&request)).0
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

fn hash_of(bytes: &[u8]) -> Result<[u8; 32], ApiError> {
    let hash = bytes.try_into();
    hash.map_err(|_| ApiError::internal("an import's hash has another length than 32 bytes"))
}

/// Events of consecutive lines, and the mark that makes them count once.
struct Batch {
    events: Vec<Event>,
    mark: ImportMark,
}

fn batches_of(
    importer: &Importer,
    source: &Bytes,
    chunk: &ImportChunk,
) -> (Vec<Batch>, ImportCounts) {
    let mut counts = ImportCounts::default();
    let mut position = chunk.after;
    let batches = pieces_of(&chunk.bytes)
        .map(|lines| {
            let first_line = position.lines + 1;
            let enriched = importer.enrich(&lines, first_line);
            for (_, reason) in &enriched.dropped {
                counts.drop(*reason);
            }
            for line in lines.split_inclusive(|byte| *byte == b'\n') {
                position.advance(without_line_end(line));
            }
            Batch::new(source.clone(), first_line, enriched, position)
        })
        .collect();
    (batches, counts)
}

/// Cuts a chunk at line ends, so that one piece fits into one log entry.
fn pieces_of(bytes: &Bytes) -> impl Iterator<Item = Bytes> + '_ {
    let mut rest = bytes.clone();
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let mut ends = rest
            .iter()
            .enumerate()
            .filter(|(_, byte)| **byte == b'\n')
            .map(|(position, _)| position + 1);
        let end = ends.nth(BATCH_LINES_MAX - 1).unwrap_or(rest.len());
        Some(rest.split_to(end))
    })
}

impl Batch {
    fn new(source: Bytes, first_line: u64, enriched: Enriched, end: ImportPosition) -> Self {
        Self {
            events: enriched.events,
            mark: ImportMark {
                source,
                first_line,
                last_line: end.lines,
                prefix_hash: Bytes::copy_from_slice(&end.hash),
                lines: enriched.event_lines,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_are_whole_lines_and_together_the_chunk() {
        let chunk = Bytes::from("x\n".repeat(2 * BATCH_LINES_MAX) + "last");
        let pieces: Vec<Bytes> = pieces_of(&chunk).collect();
        let lines = |piece: &Bytes| piece.split_inclusive(|byte| *byte == b'\n').count();
        assert_eq!(
            pieces.iter().map(lines).collect::<Vec<_>>(),
            [BATCH_LINES_MAX, BATCH_LINES_MAX, 1]
        );
        assert_eq!(pieces.concat(), chunk);
    }
}

//! What this node answers other nodes about sites that it holds. It never asks further.

use ringtail_proto::{
    EventId, Generation, SiteId, UnixMillis,
    wire::peer::{
        self,
        queries_server::{Queries, QueriesServer},
    },
};
use ringtail_query::{QueryRequest, SiteInfo};
use tonic::{Request, Response, Status};

use super::{Freshness, Merging, from_wire};
use crate::{
    api_error::ApiError,
    services::{Imports, Lookup, Question, Realtime, Reports, Terms},
};

/// Bytes of a question; the public API takes less.
const QUESTION_BYTES_MAX: usize = 1 << 20;

/// Answers nodes of the ring.
pub(crate) struct QueriesService {
    pub(crate) reports: Reports,
    pub(crate) realtime: Realtime,
    pub(crate) lookup: Lookup,
    pub(crate) imports: Imports,
}

impl QueriesService {
    pub(crate) fn server(self) -> QueriesServer<Self> {
        QueriesServer::new(self).max_decoding_message_size(QUESTION_BYTES_MAX)
    }
}

#[tonic::async_trait]
impl Queries for QueriesService {
    async fn report(
        &self,
        request: Request<peer::ReportRequest>,
    ) -> Result<Response<peer::ReportReply>, Status> {
        let asked = request.into_inner();
        let terms = Terms {
            freshness: freshness(asked.may_be_stale),
            merging: match asked.must_not_merge {
                true => Merging::Never,
                false => Merging::IfNeeded,
            },
        };
        let question = Question {
            request: QueryRequest::parse(&asked.request).map_err(ApiError::from)?,
            site: SiteInfo {
                id: SiteId(asked.site),
                domain: asked.domain,
                timezone: asked.timezone,
                generation: Generation(asked.generation),
                switches: asked.switches,
            },
            seen: from_wire(asked.seen),
            now: UnixMillis(asked.now_ms),
        };
        let response = self.reports.report_here(question, terms).await?;
        Ok(Response::new(peer::ReportReply { response }))
    }

    async fn current_visitors(
        &self,
        request: Request<peer::CurrentVisitorsRequest>,
    ) -> Result<Response<peer::CurrentVisitorsReply>, Status> {
        let asked = request.into_inner();
        let (site, freshness) = (SiteId(asked.site), freshness(asked.may_be_stale));
        let count = self.realtime.count_here(site, freshness).await?;
        Ok(Response::new(peer::CurrentVisitorsReply {
            visitors: count.visitors,
            as_of_unix_ms: count.as_of.0,
            is_stale: !count.is_fresh,
        }))
    }

    async fn find_event(
        &self,
        request: Request<peer::FindEventRequest>,
    ) -> Result<Response<peer::FindEventReply>, Status> {
        let asked = request.into_inner();
        let id: [u8; 16] = (&*asked.id)
            .try_into()
            .map_err(|_| Status::invalid_argument("an event id has 16 bytes"))?;
        let id = EventId(u128::from_be_bytes(id));
        let found = self.lookup.find_here(SiteId(asked.site), id).await?;
        Ok(Response::new(peer::FindEventReply { found }))
    }

    async fn import_position(
        &self,
        request: Request<peer::ImportPositionRequest>,
    ) -> Result<Response<peer::ImportPositionReply>, Status> {
        let asked = request.into_inner();
        let site = SiteId(asked.site);
        let source = self.imports.checked(site, &asked.source)?;
        let reached = self.imports.reached_here(site, source).await?;
        Ok(Response::new(peer::ImportPositionReply {
            lines: reached.position.lines,
            hash: reached.position.hash.to_vec().into(),
            index: reached.index.0,
        }))
    }

    async fn import_key(
        &self,
        request: Request<peer::ImportKeyRequest>,
    ) -> Result<Response<peer::ImportKeyReply>, Status> {
        let asked = request.into_inner();
        let site = SiteId(asked.site);
        let source = self.imports.checked(site, &asked.source)?;
        let key = self.imports.key_here(site, source).await?;
        Ok(Response::new(peer::ImportKeyReply {
            key: key.to_bytes().to_vec().into(),
        }))
    }

    async fn finish_import(
        &self,
        request: Request<peer::FinishImportRequest>,
    ) -> Result<Response<peer::FinishImportReply>, Status> {
        let asked = request.into_inner();
        let (site, seen) = (SiteId(asked.site), from_wire(asked.seen));
        let source = self.imports.checked(site, &asked.source)?;
        self.imports.finish_here(site, source, seen).await?;
        Ok(Response::new(peer::FinishImportReply {}))
    }
}

fn freshness(may_be_stale: bool) -> Freshness {
    match may_be_stale {
        true => Freshness::Any,
        false => Freshness::InTouch,
    }
}

//! What this node answers other nodes about sites that it holds. It never asks further.

use ringtail_proto::{
    EventId, SiteId, UnixMillis,
    wire::peer::{
        self,
        queries_server::{Queries, QueriesServer},
    },
};
use ringtail_query::{QueryRequest, SiteInfo};
use tonic::{Request, Response, Status};

use super::{Freshness, from_wire};
use crate::{
    api_error::ApiError,
    services::{Imports, Lookup, Question, Reports},
};

/// Bytes of a question; the public API takes less.
const QUESTION_BYTES_MAX: usize = 1 << 20;

/// Answers nodes of the ring.
pub(crate) struct QueriesService {
    pub(crate) reports: Reports,
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
        let freshness = match asked.may_be_stale {
            true => Freshness::Any,
            false => Freshness::InTouch,
        };
        let question = Question {
            request: QueryRequest::parse(&asked.request).map_err(ApiError::from)?,
            site: SiteInfo {
                id: SiteId(asked.site),
                domain: asked.domain,
                timezone: asked.timezone,
            },
            seen: from_wire(asked.seen),
            now: UnixMillis(asked.now_ms),
        };
        let response = self.reports.report_here(question, freshness).await?;
        Ok(Response::new(peer::ReportReply { response }))
    }

    async fn current_visitors(
        &self,
        request: Request<peer::CurrentVisitorsRequest>,
    ) -> Result<Response<peer::CurrentVisitorsReply>, Status> {
        let asked = request.into_inner();
        let site = SiteId(asked.site);
        let count = self.reports.count_here(site, Freshness::InTouch).await?;
        Ok(Response::new(peer::CurrentVisitorsReply {
            visitors: count.visitors,
            as_of_unix_ms: count.as_of.0,
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
        let reached = self.imports.reached_here(site, &asked.source).await?;
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
        let source = source_of(&asked.source)?;
        let key = self.imports.key_here(SiteId(asked.site), source).await?;
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
        let source = source_of(&asked.source)?;
        self.imports.finish_here(site, source, seen).await?;
        Ok(Response::new(peer::FinishImportReply {}))
    }
}

fn source_of(bytes: &[u8]) -> Result<&str, Status> {
    std::str::from_utf8(bytes).map_err(|_| Status::invalid_argument("a source is text"))
}

//! `ringtail.v1.Reports`.

use futures::{StreamExt as _, stream::BoxStream};
use ringtail_proto::wire::v1::{
    QueryRequest, QueryResponse, RealtimeRequest, RealtimeResponse,
    reports_server::Reports as Service,
};
use tonic::{Request, Response, Status};

use super::caller;
use crate::{
    api_error::ApiError,
    services::{Realtime, Reports},
};

/// Answers reports over gRPC.
pub(crate) struct ReportsService {
    pub(crate) reports: Reports,
    pub(crate) realtime: Realtime,
}

#[tonic::async_trait]
impl Service for ReportsService {
    async fn query(
        &self,
        request: Request<QueryRequest>,
    ) -> Result<Response<QueryResponse>, Status> {
        let caller = caller(&self.reports.access, &request)?;
        let body = request.into_inner().json.into();
        let report = self.reports.query(&caller, body).await?;
        let json = String::from_utf8(report.into()).map_err(ApiError::internal)?;
        Ok(Response::new(QueryResponse { json }))
    }

    type RealtimeStream = BoxStream<'static, Result<RealtimeResponse, Status>>;

    async fn realtime(
        &self,
        request: Request<RealtimeRequest>,
    ) -> Result<Response<Self::RealtimeStream>, Status> {
        let caller = caller(&self.realtime.access, &request)?;
        let counts = self.realtime.follow(&caller, &request.into_inner().site)?;
        let responses = counts.map(|count| {
            Ok(RealtimeResponse {
                visitors: count.visitors,
                as_of_unix_ms: count.as_of.0,
                is_stale: !count.is_fresh,
            })
        });
        Ok(Response::new(responses.boxed()))
    }
}

//! Reports and the count of current visitors.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use futures::{Stream, stream};
use ringtail_metadata::{Scope, Site};
use ringtail_partition::PartitionError;
use ringtail_proto::{ErrorKind, SiteId, UnixMillis};
use ringtail_query::{QueryError, QueryRequest, SiteInfo};
use ringtail_router::Clock;
use serde_json::Value;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    task::spawn_blocking,
    time::{Instant, Interval},
};

use super::{Access, Caller};
use crate::{Partitions, ViewAt, api_error::ApiError, health::Health};

/// How often a stream looks for a change.
const REALTIME_INTERVAL: Duration = Duration::from_secs(1);
/// A stream says something at least this often, so that a dead connection is noticed.
const REALTIME_SILENCE_MAX: Duration = Duration::from_secs(10);
/// Streams at once.
const REALTIME_STREAMS_MAX: usize = 2_000;

/// Memory for decoded pages.
const CACHE_BYTES_MAX: u64 = ringtail_query::Reports::CACHE_BYTES_MAX;

/// Answers reports.
#[derive(Clone)]
pub(crate) struct Reports {
    pub(crate) access: Access,
    health: Arc<Health>,
    partitions: Arc<Partitions>,
    clock: Arc<dyn Clock>,
    engine: Arc<ringtail_query::Reports>,
    streams: Arc<Semaphore>,
}

/// The number of current visitors at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RealtimeCount {
    /// Distinct visitors of the last five minutes.
    pub(crate) visitors: u64,
    /// The moment.
    pub(crate) as_of: UnixMillis,
}

impl Reports {
    pub(crate) fn new(
        access: Access,
        health: Arc<Health>,
        partitions: Arc<Partitions>,
        clock: Arc<dyn Clock>,
    ) -> Self {
        Self {
            access,
            health,
            partitions,
            clock,
            engine: Arc::new(ringtail_query::Reports::new(CACHE_BYTES_MAX)),
            streams: Arc::new(Semaphore::new(REALTIME_STREAMS_MAX)),
        }
    }

    /// Answers one report.
    pub(crate) async fn query(&self, caller: &Caller, body: Bytes) -> Result<Value, ApiError> {
        let request = QueryRequest::parse(&body)?;
        let site = self.access.site(caller, Scope::Read, &request.site_id)?;
        let view = self.view(site.id).await?;
        let now = self.clock.now();
        let engine = Arc::clone(&self.engine);
        let report = spawn_blocking(move || {
            engine.query(&request, &site_info(&site), &view.view, &view.reader, now)
        });
        let response = report.await.map_err(ApiError::internal)??;
        serde_json::to_value(response).map_err(ApiError::internal)
    }

    /// The number of current visitors: at once, at each change, and every ten seconds.
    pub(crate) fn realtime(
        &self,
        caller: &Caller,
        domain: &str,
    ) -> Result<impl Stream<Item = RealtimeCount> + Send + use<>, ApiError> {
        let site = self.access.site(caller, Scope::Read, domain)?.id;
        let permit = Arc::clone(&self.streams).try_acquire_owned().map_err(|_| {
            let message = format!("{REALTIME_STREAMS_MAX} streams are open on this node");
            ApiError::new(ErrorKind::Overloaded, message)
        })?;
        let follower = Follower {
            reports: self.clone(),
            site,
            ticks: tokio::time::interval(REALTIME_INTERVAL),
            last: None,
            _permit: permit,
        };
        Ok(stream::unfold(follower, |mut follower| async {
            let count = follower.next().await?;
            Some((count, follower))
        }))
    }

    async fn count(&self, site: SiteId) -> Result<RealtimeCount, ApiError> {
        let view = self.view(site).await?;
        let as_of = self.clock.now();
        let visitors = ringtail_query::realtime_visitors(&view.view, &view.reader, as_of)?;
        Ok(RealtimeCount { visitors, as_of })
    }

    /// A node that replays would show numbers of the past, and one that drains ends its streams.
    async fn view(&self, site: SiteId) -> Result<ViewAt, ApiError> {
        self.health.require_ready()?;
        Ok(self.partitions.view(site).await?)
    }
}

/// Follows one site's count; the stream ends when the site cannot be read any more.
struct Follower {
    reports: Reports,
    site: SiteId,
    ticks: Interval,
    last: Option<(RealtimeCount, Instant)>,
    _permit: OwnedSemaphorePermit,
}

impl Follower {
    async fn next(&mut self) -> Option<RealtimeCount> {
        loop {
            let now = self.ticks.tick().await;
            let count = self.reports.count(self.site).await.ok()?;
            let is_news = self.last.is_none_or(|(last, at)| {
                last.visitors != count.visitors || now.duration_since(at) >= REALTIME_SILENCE_MAX
            });
            if is_news {
                self.last = Some((count, now));
                return Some(count);
            }
        }
    }
}

fn site_info(site: &Site) -> SiteInfo {
    SiteInfo {
        id: site.id,
        domain: site.domain.to_string(),
        timezone: site.timezone.to_string(),
    }
}

impl From<PartitionError> for ApiError {
    fn from(error: PartitionError) -> Self {
        match error.kind() {
            ErrorKind::Internal => Self::internal(error),
            kind => Self::new(kind, error),
        }
    }
}

impl From<QueryError> for ApiError {
    fn from(error: QueryError) -> Self {
        match error.kind() {
            ErrorKind::Internal => Self::internal(error),
            kind => Self::new(kind, error),
        }
    }
}

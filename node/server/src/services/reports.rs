//! Reports and the count of current visitors.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use futures::{Stream, stream};
use ringtail_metadata::{Scope, Site};
use ringtail_partition::PartitionError;
use ringtail_proto::{ErrorKind, SiteId, UnixMillis, wire::peer};
use ringtail_query::{QueryError, QueryRequest, Seen, Session, SiteInfo};
use ringtail_router::Clock;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    task::spawn_blocking,
    time::{Instant, Interval},
};

use super::{Access, Caller};
use crate::{
    api_error::ApiError,
    health::Health,
    reading::{Freshness, LocalReplicas, PeerReplicas, to_wire},
};

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
    local: LocalReplicas,
    peers: PeerReplicas,
    clock: Arc<dyn Clock>,
    engine: Arc<ringtail_query::Reports>,
    streams: Arc<Semaphore>,
}

/// A question whose asker may ask it.
#[derive(Clone)]
pub(crate) struct Question {
    pub(crate) request: QueryRequest,
    pub(crate) site: SiteInfo,
    /// The answer includes at least this.
    pub(crate) seen: Seen,
    /// Decides which day is today.
    pub(crate) now: UnixMillis,
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
        local: LocalReplicas,
        peers: PeerReplicas,
        clock: Arc<dyn Clock>,
    ) -> Self {
        Self {
            access,
            health,
            local,
            peers,
            clock,
            engine: Arc::new(ringtail_query::Reports::new(CACHE_BYTES_MAX)),
            streams: Arc::new(Semaphore::new(REALTIME_STREAMS_MAX)),
        }
    }

    /// Answers one report, as JSON.
    pub(crate) async fn query(&self, caller: &Caller, body: Bytes) -> Result<Bytes, ApiError> {
        self.health.require_ready()?;
        let request = QueryRequest::parse(&body)?;
        let site = self.access.site(caller, Scope::Read, &request.site_id)?;
        let session = request.session.as_deref();
        let session = session
            .map(|token| Session::parse(token, site.id))
            .transpose()?;
        let clock = self.clock.now();
        let question = Question {
            request,
            site: site_info(&site),
            seen: session.map(|session| session.seen).unwrap_or_default(),
            now: session.map_or(clock, |session| session.now(clock)),
        };
        let here = self.report_here(question.clone(), Freshness::InTouch).await;
        let Err(error) = here else { return here };
        if !error.may_be_answered_elsewhere() {
            return Err(error);
        }
        self.report_elsewhere(question, body).await
    }

    /// Answers from this node's own replica.
    pub(crate) async fn report_here(
        &self,
        question: Question,
        freshness: Freshness,
    ) -> Result<Bytes, ApiError> {
        let site = question.site.id;
        let reading = self.local.view(site, question.seen, freshness).await?;
        let engine = Arc::clone(&self.engine);
        let report = spawn_blocking(move || {
            let standing = reading.standing();
            let (view, rows) = (&reading.at.view, &reading.at.reader);
            let Question {
                request, site, now, ..
            } = &question;
            engine.query(request, site, view, rows, standing, *now)
        });
        let response = report.await.map_err(ApiError::internal)??;
        let json = serde_json::to_vec(&response).map_err(ApiError::internal)?;
        Ok(json.into())
    }

    /// Answers from a replica in touch at another node, else from any that has what was seen, this node's first.
    async fn report_elsewhere(&self, question: Question, body: Bytes) -> Result<Bytes, ApiError> {
        let site = question.site.id;
        let mut request = peer::ReportRequest {
            site: site.0,
            domain: question.site.domain.clone(),
            timezone: question.site.timezone.clone(),
            request: body,
            seen: Some(to_wire(question.seen)),
            now_ms: question.now.0,
            may_be_stale: false,
        };
        let nobody = match self.ask_report(site, &request).await {
            Err(error) if error.may_be_answered_elsewhere() => error,
            answered => return answered,
        };
        let here = self.report_here(question, Freshness::Any).await;
        match here {
            Err(error) if error.may_be_answered_elsewhere() => {}
            answered => return answered,
        }
        request.may_be_stale = true;
        self.ask_report(site, &request).await.map_err(|_| nobody)
    }

    async fn ask_report(
        &self,
        site: SiteId,
        request: &peer::ReportRequest,
    ) -> Result<Bytes, ApiError> {
        let asked = self.peers.ask(site, |mut client| {
            let request = request.clone();
            Box::pin(async move { client.report(request).await })
        });
        Ok(asked.await?.response)
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

    /// A node that replays would show numbers of the past.
    async fn count(&self, site: SiteId) -> Result<RealtimeCount, ApiError> {
        self.health.require_ready()?;
        let here = self.count_here(site, Freshness::InTouch).await;
        if here.is_ok() {
            return here;
        }
        let request = peer::CurrentVisitorsRequest { site: site.0 };
        let asked = self.peers.ask(site, |mut client| {
            Box::pin(async move { client.current_visitors(request).await })
        });
        match asked.await {
            Ok(reply) => Ok(RealtimeCount {
                visitors: reply.visitors,
                as_of: UnixMillis(reply.as_of_unix_ms),
            }),
            Err(nobody) => {
                let here = self.count_here(site, Freshness::Any).await;
                here.map_err(|_| nobody)
            }
        }
    }

    /// Counts from this node's own replica.
    pub(crate) async fn count_here(
        &self,
        site: SiteId,
        freshness: Freshness,
    ) -> Result<RealtimeCount, ApiError> {
        let reading = self.local.view(site, Seen::default(), freshness).await?;
        let as_of = self.clock.now();
        let (view, rows) = (&reading.at.view, &reading.at.reader);
        let visitors = ringtail_query::realtime_visitors(view, rows, as_of)?;
        Ok(RealtimeCount { visitors, as_of })
    }
}

/// Follows one site's count; the stream ends when the site cannot be read any more, or the node stops.
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
            if !self.reports.health.is_ready() {
                return None;
            }
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

//! Reports: from the replica here, or from one at another node.

mod forwards;

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use ringtail_metadata::{Metadata, Scope, Site, SitePast};
use ringtail_partition::PartitionError;
use ringtail_proto::{ErrorKind, Generation, SiteGeneration, UnixMillis};
use ringtail_query::{QueryError, QueryRequest, Seen, Session, SiteInfo};
use ringtail_router::Clock;
use tokio::{
    task::spawn_blocking,
    time::{Instant, timeout_at},
};

use self::forwards::Forwards;
use super::{Access, Caller};
use crate::{
    api_error::ApiError,
    health::Health,
    reading::{Freshness, LocalReplicas, Merging, NoAnswer, PeerReplicas, Reading},
};

/// How long a report may take, wherever it is made.
const REPORT_WAIT_MAX: Duration = Duration::from_secs(30);
/// Memory for decoded pages.
const CACHE_BYTES_MAX: u64 = ringtail_query::Reports::CACHE_BYTES_MAX;

/// Answers reports.
#[derive(Clone)]
pub(crate) struct Reports {
    pub(crate) access: Access,
    metadata: Metadata,
    health: Arc<Health>,
    local: LocalReplicas,
    forwards: Forwards,
    clock: Arc<dyn Clock>,
    engine: Arc<ringtail_query::Reports>,
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

/// Which replicas may answer, and what they may do for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Terms {
    pub(crate) freshness: Freshness,
    pub(crate) merging: Merging,
}

/// On which terms replicas are asked, one after the other. Whoever has merged late events already is asked before anybody
/// does so for the sake of one reader; who has seen nothing needs nothing merged.
fn terms_for(seen: Seen) -> Vec<Terms> {
    let terms = |freshness, merging| Terms { freshness, merging };
    let mut all = vec![
        terms(Freshness::InTouch, Merging::Never),
        terms(Freshness::InTouch, Merging::IfNeeded),
        terms(Freshness::Any, Merging::IfNeeded),
    ];
    if seen == Seen::default() {
        all.remove(1);
    }
    all
}

impl Reports {
    pub(crate) fn new(
        access: Access,
        metadata: Metadata,
        health: Arc<Health>,
        local: LocalReplicas,
        peers: PeerReplicas,
        clock: Arc<dyn Clock>,
    ) -> Self {
        Self {
            access,
            metadata,
            health,
            local,
            forwards: Forwards::new(peers),
            clock,
            engine: Arc::new(ringtail_query::Reports::new(CACHE_BYTES_MAX)),
        }
    }

    /// Answers one report, as JSON. A caller who waits for less drops the call, and with it what other nodes do for it.
    pub(crate) async fn query(&self, caller: &Caller, body: Bytes) -> Result<Bytes, ApiError> {
        self.health.require_ready()?;
        let request = QueryRequest::parse(&body)?;
        let scope = match request.generation {
            // What is not served yet, or no more, is for those who decide about it.
            Some(_) => Scope::Admin,
            None => Scope::Read,
        };
        let site = self.access.site(caller, scope, &request.site_id)?;
        let session = request.session.as_deref();
        let session = session
            .map(|token| Session::parse(token, site.id))
            .transpose()?;
        let clock = self.clock.now();
        let switches = session.map_or(0, |session| session.switches);
        let site = self.site_info(&site, request.generation, switches).await?;
        let question = Question {
            request,
            site,
            seen: session.map(|session| session.seen).unwrap_or_default(),
            now: session.map_or(clock, |session| session.now(clock)),
        };
        let deadline = Instant::now() + REPORT_WAIT_MAX;
        match timeout_at(deadline, self.answer(&question, &body, deadline)).await {
            Ok(answer) => answer,
            Err(_elapsed) => {
                let message = format!("the report was not made within {REPORT_WAIT_MAX:?}");
                Err(ApiError::new(ErrorKind::Unavailable, message))
            }
        }
    }

    /// The site, with the generation that answers: the one that was asked for, or the one that serves. A caller who has
    /// seen the site switched more often than this node knows waits until it knows, too.
    async fn site_info(
        &self,
        site: &Site,
        generation: Option<u32>,
        switches_seen: u64,
    ) -> Result<SiteInfo, ApiError> {
        let directory = self.metadata.directory();
        let switches = |past: &Option<Arc<SitePast>>| past.as_ref().map_or(0, |past| past.switches);
        let mut past = directory.past(site.id);
        if switches(&past) < switches_seen {
            self.metadata.read_barrier().await?;
            past = directory.past(site.id);
        }
        let serving = past.as_ref().map_or(0, |past| past.serving.generation);
        Ok(SiteInfo {
            id: site.id,
            domain: site.domain.to_string(),
            timezone: site.timezone.to_string(),
            generation: Generation(generation.unwrap_or(serving)),
            switches: switches(&past),
        })
    }

    /// On each of the terms first here, then elsewhere.
    async fn answer(
        &self,
        question: &Question,
        body: &Bytes,
        deadline: Instant,
    ) -> Result<Bytes, ApiError> {
        let (mut nobody, mut missing) = (None, None);
        for terms in terms_for(question.seen) {
            match self.read_here(question, terms).await {
                Ok(reading) => match self.report_of(reading, question.clone()).await {
                    // Rows are missing here; another replica may have them.
                    Err(error) if error.kind == ErrorKind::Unavailable => {
                        missing.get_or_insert(error);
                    }
                    Err(error) if error.may_be_answered_elsewhere() => {}
                    answered => return answered,
                },
                Err(error) if error.may_be_answered_elsewhere() => {}
                Err(error) => return Err(error),
            }
            match self.forwards.ask(question, body, terms, deadline).await {
                Ok(report) => return Ok(report),
                // The first reasons say most: those of replicas that should have answered.
                Err(reason @ NoAnswer::Nobody(..)) => {
                    nobody.get_or_insert(reason);
                }
                Err(reason) => return Err(reason.into()),
            }
        }
        let nobody = missing.or(nobody.map(ApiError::from));
        Err(nobody.unwrap_or_else(|| ApiError::internal("a report was asked for on no terms")))
    }

    /// Answers from this node's own replica.
    pub(crate) async fn report_here(
        &self,
        question: Question,
        terms: Terms,
    ) -> Result<Bytes, ApiError> {
        let reading = self.read_here(&question, terms).await?;
        self.report_of(reading, question).await
    }

    /// The site as this node's own replica has it.
    async fn read_here(&self, question: &Question, terms: Terms) -> Result<Reading, ApiError> {
        let Terms { freshness, merging } = terms;
        let generation = SiteGeneration {
            site: question.site.id,
            generation: question.site.generation,
        };
        self.local
            .view_including(generation, question.seen, freshness, merging)
            .await
    }

    /// Makes the report on a thread that may wait.
    async fn report_of(&self, reading: Reading, question: Question) -> Result<Bytes, ApiError> {
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

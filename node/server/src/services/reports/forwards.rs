//! Reports that another node makes.

use std::sync::Arc;

use bytes::Bytes;
use ringtail_proto::{ErrorKind, wire::peer};
use tokio::{sync::Semaphore, time::Instant};

use super::{Question, Terms};
use crate::{
    api_error::ApiError,
    reading::{Freshness, Merging, NoAnswer, PeerReplicas, to_wire},
};

/// Reports of this node's callers that other nodes work on at once: what waits for slow replicas costs memory here.
const FORWARDED_MAX: usize = 256;

/// Asks other nodes for reports.
#[derive(Clone)]
pub(super) struct Forwards {
    peers: PeerReplicas,
    room: Arc<Semaphore>,
}

impl Forwards {
    pub(super) fn new(peers: PeerReplicas) -> Self {
        // A series that begins with its first refusal hides it.
        metrics::counter!("ringtail_query_forwards_refused_total").increment(0);
        Self {
            peers,
            room: Arc::new(Semaphore::new(FORWARDED_MAX)),
        }
    }

    /// The report of the first other replica that may make it on these terms.
    pub(super) async fn ask(
        &self,
        question: &Question,
        body: &Bytes,
        terms: Terms,
        deadline: Instant,
    ) -> Result<Bytes, NoAnswer> {
        let _room = self.room.try_acquire().map_err(|_| {
            metrics::counter!("ringtail_query_forwards_refused_total").increment(1);
            let message = format!("{FORWARDED_MAX} reports wait for other nodes");
            NoAnswer::Fault(ApiError::new(ErrorKind::Overloaded, message))
        })?;
        let request = peer::ReportRequest {
            site: question.site.id.0,
            domain: question.site.domain.clone(),
            timezone: question.site.timezone.clone(),
            request: body.clone(),
            seen: Some(to_wire(question.seen)),
            now_ms: question.now.0,
            may_be_stale: terms.freshness == Freshness::Any,
            must_not_merge: terms.merging == Merging::Never,
            generation: question.site.generation.0,
            switches: question.site.switches,
        };
        let asked = self.peers.ask(question.site.id, deadline, |mut client| {
            let request = request.clone();
            Box::pin(async move { client.report(request).await })
        });
        Ok(asked.await?.response)
    }
}

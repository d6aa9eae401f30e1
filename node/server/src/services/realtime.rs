//! The stream of a site's current visitors. All streams of a site share one look at it each second.

mod shared;

use std::{sync::Arc, time::Duration};

use futures::{FutureExt as _, Stream, stream};
use ringtail_metadata::Scope;
use ringtail_proto::{ErrorKind, SiteId, UnixMillis, wire::peer};
use ringtail_router::Clock;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{Instant, timeout_at},
};

use self::shared::{Looks, Watched};
use super::{Access, Caller};
use crate::{
    api_error::ApiError,
    health::Health,
    reading::{Freshness, LocalReplicas, NoAnswer, PeerReplicas},
};

/// A stream says something at least this often, so that a dead connection is noticed.
const SILENCE_MAX: Duration = Duration::from_secs(10);
/// Streams at once.
const STREAMS_MAX: usize = 2_000;
/// How long other nodes may take to count.
const COUNT_WAIT_MAX: Duration = Duration::from_secs(3);

/// The number of current visitors at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RealtimeCount {
    /// Distinct visitors of the last five minutes.
    pub(crate) visitors: u64,
    /// The moment.
    pub(crate) as_of: UnixMillis,
    /// False when no replica that is in touch with its group could be asked: the number may be old.
    pub(crate) is_fresh: bool,
}

/// Counts current visitors.
#[derive(Clone)]
pub(crate) struct Realtime {
    pub(crate) access: Access,
    counter: Counter,
    looks: Looks,
    streams: Arc<Semaphore>,
}

/// Counts, here or at another node.
#[derive(Clone)]
struct Counter {
    health: Arc<Health>,
    local: LocalReplicas,
    peers: PeerReplicas,
    clock: Arc<dyn Clock>,
}

impl Realtime {
    pub(crate) fn new(
        access: Access,
        health: Arc<Health>,
        local: LocalReplicas,
        peers: PeerReplicas,
        clock: Arc<dyn Clock>,
    ) -> Self {
        let counter = Counter {
            health,
            local,
            peers,
            clock,
        };
        let looks = {
            let counter = counter.clone();
            Looks::new(Arc::new(move |site| {
                let counter = counter.clone();
                async move { counter.count(site).await }.boxed()
            }))
        };
        Self {
            access,
            counter,
            looks,
            streams: Arc::new(Semaphore::new(STREAMS_MAX)),
        }
    }

    /// The number of current visitors: at once, at each change, and every ten seconds. The stream ends when the site
    /// cannot be read at all, or the node stops.
    pub(crate) fn follow(
        &self,
        caller: &Caller,
        domain: &str,
    ) -> Result<impl Stream<Item = RealtimeCount> + Send + use<>, ApiError> {
        let site = self.access.site(caller, Scope::Read, domain)?.id;
        let permit = Arc::clone(&self.streams).try_acquire_owned().map_err(|_| {
            let message = format!("{STREAMS_MAX} streams are open on this node");
            ApiError::new(ErrorKind::Overloaded, message)
        })?;
        let follower = Follower {
            health: Arc::clone(&self.counter.health),
            watched: self.looks.watch(site),
            last: None,
            _permit: permit,
        };
        Ok(stream::unfold(follower, |mut follower| async {
            let count = follower.next().await?;
            Some((count, follower))
        }))
    }

    /// Counts from this node's own replica.
    pub(crate) async fn count_here(
        &self,
        site: SiteId,
        freshness: Freshness,
    ) -> Result<RealtimeCount, ApiError> {
        self.counter.count_here(site, freshness).await
    }
}

impl Counter {
    /// From a replica that is in touch, else from any. A node that replays would show numbers of the past.
    async fn count(&self, site: SiteId) -> Result<RealtimeCount, ApiError> {
        if !self.health.is_ready() {
            return Err(ApiError::new(ErrorKind::Unavailable, "the node stops"));
        }
        let deadline = Instant::now() + COUNT_WAIT_MAX;
        let mut nobody = None;
        for freshness in [Freshness::InTouch, Freshness::Any] {
            if let Ok(count) = self.count_here(site, freshness).await {
                return Ok(count);
            }
            match self.count_elsewhere(site, freshness, deadline).await {
                Ok(count) => return Ok(count),
                Err(reason) => {
                    nobody.get_or_insert(reason);
                }
            }
        }
        let nobody = nobody.map(ApiError::from);
        Err(nobody.unwrap_or_else(|| ApiError::internal("nobody was asked to count")))
    }

    async fn count_here(
        &self,
        site: SiteId,
        freshness: Freshness,
    ) -> Result<RealtimeCount, ApiError> {
        let reading = self.local.view(site, freshness).await?;
        let as_of = self.clock.now();
        let (view, rows) = (&reading.at.view, &reading.at.reader);
        let visitors = ringtail_query::realtime_visitors(view, rows, as_of)?;
        Ok(RealtimeCount {
            visitors,
            as_of,
            is_fresh: reading.is_fresh,
        })
    }

    async fn count_elsewhere(
        &self,
        site: SiteId,
        freshness: Freshness,
        deadline: Instant,
    ) -> Result<RealtimeCount, NoAnswer> {
        let request = peer::CurrentVisitorsRequest {
            site: site.0,
            may_be_stale: freshness == Freshness::Any,
        };
        let asked = self.peers.ask(site, deadline, |mut client| {
            Box::pin(async move { client.current_visitors(request).await })
        });
        let reply = asked.await?;
        Ok(RealtimeCount {
            visitors: reply.visitors,
            as_of: UnixMillis(reply.as_of_unix_ms),
            is_fresh: !reply.is_stale,
        })
    }
}

/// One stream.
struct Follower {
    health: Arc<Health>,
    watched: Watched,
    last: Option<(RealtimeCount, Instant)>,
    _permit: OwnedSemaphorePermit,
}

impl Follower {
    async fn next(&mut self) -> Option<RealtimeCount> {
        loop {
            let count = match self.last {
                Some((_, at)) => match timeout_at(at + SILENCE_MAX, self.watched.next()).await {
                    Ok(count) => count?,
                    Err(_elapsed) => self.watched.current()?,
                },
                None => self.watched.next().await?,
            };
            // An open stream would hold up the node's end.
            if !self.health.is_ready() {
                return None;
            }
            let now = Instant::now();
            let is_news = self.last.is_none_or(|(last, at)| {
                (last.visitors, last.is_fresh) != (count.visitors, count.is_fresh)
                    || now.duration_since(at) >= SILENCE_MAX
            });
            if is_news {
                self.last = Some((count, now));
                return Some(count);
            }
        }
    }
}

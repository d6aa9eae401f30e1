//! The front door, free of any web framework: a request's facts and body in, an answer out.

use std::{net::IpAddr, sync::Arc};

use ringtail_proto::{DropReason, Event, EventId, SiteId, UnixMillis, Verdict, wire};
use tokio::sync::watch;

use crate::{
    Clock, CollectError, Durable, Encoding, Envelope, EventSink, EventsAnswer, GatewaySettings,
    Hit, KeyGrant, PlausibleAnswer, Receipt, Salts, SaltsError, SiteRules, Sites, body,
    dialects::{collector, events, events::Sender, pixel, plausible},
    enricher::{Enricher, Mode},
    memo::Memo,
    pipeline,
    rate::AddressBuckets,
};

/// Collects and enriches events, and sees them into the [`EventSink`].
pub struct Gateway {
    pub(crate) enricher: Enricher,
    sink: Arc<dyn EventSink>,
    addresses: AddressBuckets,
    /// True once streams are to end.
    closing: watch::Sender<bool>,
}

/// What became of a batch whose events are now durable.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Collected {
    /// Events that are durable and will be counted once.
    pub durable: u32,
    /// True when they wait for their partition, which has no quorum now.
    pub is_pending: bool,
    /// The others, by position in the request.
    pub dropped: Vec<(u32, DropReason)>,
}

impl Gateway {
    /// A gateway over these seams. Install the metrics recorder before.
    pub fn new(
        settings: GatewaySettings,
        sites: Arc<dyn Sites>,
        sink: Arc<dyn EventSink>,
        salts: Arc<Salts>,
        clock: Clock,
    ) -> Self {
        let enricher = Enricher::new(sites, salts, clock, settings);
        let addresses = AddressBuckets::new(enricher.seed);
        Self {
            enricher,
            sink,
            addresses,
            closing: watch::Sender::new(false),
        }
    }

    /// Ends the streams of clients: each takes no more, acknowledges what it has taken, and ends, so that its client
    /// goes on elsewhere with what was not acknowledged. Single calls are answered as before.
    pub fn close_streams(&self) {
        self.closing.send_replace(true);
    }

    pub(crate) fn streams_closing(&self) -> watch::Receiver<bool> {
        self.closing.subscribe()
    }

    /// The limits in force.
    #[must_use]
    pub fn settings(&self) -> &GatewaySettings {
        &self.enricher.settings
    }

    /// Loads rules and databases, some hundred milliseconds of work that the first event would wait for otherwise. Run
    /// it on a thread of its own at start; nothing has to wait for it.
    pub fn warm_up(&self) {
        let enricher = &self.enricher;
        enricher.sources.warm_up();
        enricher.countries.warm_up();
        enricher.agents.warm_up();
    }

    /// Makes the salts that are due and deletes those that are over; call it every few minutes.
    ///
    /// # Errors
    /// When the file of salts cannot be written.
    pub fn turn_salts(&self) -> Result<(), SaltsError> {
        self.enricher.salts.maintain()
    }

    /// The site of a domain.
    #[must_use]
    pub fn site(&self, domain: &str) -> Option<Arc<SiteRules>> {
        self.enricher.sites.rules(domain)
    }

    /// Why this node dropped an event lately; none when it did not, or when that is long ago.
    #[must_use]
    pub fn recent_drop(&self, site: SiteId, id: EventId) -> Option<DropReason> {
        self.enricher.recent_drops.reason(site, id)
    }

    /// `POST /api/event`: answers when the event is durable.
    ///
    /// # Errors
    /// [`CollectError`]; a site that nobody knows is a drop and no error, as with Plausible.
    pub async fn collect_plausible(
        &self,
        envelope: &Envelope<'_>,
        encoding: Encoding,
        body: &[u8],
    ) -> Result<PlausibleAnswer, CollectError> {
        self.counted(self.try_plausible(envelope, encoding, body).await)
    }

    async fn try_plausible(
        &self,
        envelope: &Envelope<'_>,
        encoding: Encoding,
        body: &[u8],
    ) -> Result<PlausibleAnswer, CollectError> {
        let (batches, dropped) = {
            let settings = self.settings();
            let body = body::inflate(
                body,
                encoding,
                settings.event_body_bytes_max,
                settings.inflate_ratio_max,
            )
            .inspect_err(|_| self.count_malformed())?;
            let parsed = body::text(&body)
                .and_then(plausible::Body::parse)
                .inspect_err(|_| self.count_malformed())?;
            let domains = parsed.domains().inspect_err(|_| self.count_malformed())?;
            let mut hit = parsed
                .hit(envelope)
                .inspect_err(|_| self.count_malformed())?;
            let address = self.client_address(envelope);
            hit.address = Some(address);
            self.take_from_address(address, domains.len())?;
            self.enricher
                .counters
                .hits
                .plausible
                .increment(domains.len() as u64);
            let receipt = self.enricher.clock.now();
            let (mut batches, mut dropped) = (Vec::with_capacity(domains.len()), 0);
            for domain in domains {
                hit.domain = domain;
                let (batch, reason) = self.enrich_one(&hit, receipt)?;
                // All else has been checked, so it is the address that is no address.
                if reason == Some(DropReason::Malformed) {
                    return Err(CollectError::malformed(
                        "url",
                        "is not an address with a host",
                    ));
                }
                dropped += u32::from(reason.is_some());
                batches.extend(batch);
            }
            (batches, dropped)
        };
        for batch in batches {
            self.send(batch).await?.committed().await?;
        }
        Ok(PlausibleAnswer { dropped })
    }

    /// `GET /pixel.gif`: an event from the query. Answers when it is durable; the image is sent whatever the outcome.
    ///
    /// # Errors
    /// [`CollectError`], for the log and the counters.
    pub async fn collect_pixel(
        &self,
        envelope: &Envelope<'_>,
        query: &str,
    ) -> Result<PlausibleAnswer, CollectError> {
        self.counted(self.try_pixel(envelope, query).await)
    }

    async fn try_pixel(
        &self,
        envelope: &Envelope<'_>,
        query: &str,
    ) -> Result<PlausibleAnswer, CollectError> {
        let (batch, reason) = {
            let query = pixel::Query::parse(query, envelope);
            let mut hit = query.hit(envelope);
            let address = self.client_address(envelope);
            hit.address = Some(address);
            self.take_from_address(address, 1)?;
            self.enricher.counters.hits.pixel.increment(1);
            self.enrich_one(&hit, self.enricher.clock.now())?
        };
        if let Some(batch) = batch {
            self.send(batch).await?.committed().await?;
        }
        Ok(PlausibleAnswer {
            dropped: u32::from(reason.is_some()),
        })
    }

    /// `POST /api/v1/events`: answers when the events are counted.
    ///
    /// # Errors
    /// [`CollectError`] for the request as a whole; single events are dropped with their reasons.
    pub async fn collect_events(
        &self,
        envelope: &Envelope<'_>,
        encoding: Encoding,
        body: &[u8],
    ) -> Result<EventsAnswer, CollectError> {
        self.counted(self.try_events(envelope, encoding, body).await)
    }

    async fn try_events(
        &self,
        envelope: &Envelope<'_>,
        encoding: Encoding,
        body: &[u8],
    ) -> Result<EventsAnswer, CollectError> {
        let batch = {
            let settings = self.settings();
            let body = body::inflate(
                body,
                encoding,
                settings.batch_body_bytes_max,
                settings.inflate_ratio_max,
            )
            .inspect_err(|_| self.count_malformed())?;
            let parsed = body::text(&body)
                .and_then(events::Body::parse)
                .inspect_err(|_| self.count_malformed())?;
            let domain = parsed.site.0.as_ref();
            let (site, sender) = self.admit(envelope, domain, parsed.events.len())?;
            self.enricher
                .counters
                .hits
                .events
                .increment(parsed.events.len() as u64);
            let hits = parsed
                .events
                .iter()
                .map(|event| events::BodyEvent::parse(event)?.into_hit(domain, &sender));
            self.enrich_batch(&site, domain, hits)
        };
        self.send(batch).await?.applied().await
    }

    /// A batch over gRPC, on its way: wait for it to be durable or counted as the caller needs.
    pub(crate) async fn begin_collect(
        &self,
        envelope: &Envelope<'_>,
        request: &wire::v1::CollectRequest,
    ) -> Result<InFlight, CollectError> {
        let batch = self.prepare_collect(envelope, request);
        match self.counted(batch) {
            Ok(batch) => self.counted(self.send(batch).await),
            Err(error) => Err(error),
        }
    }

    fn prepare_collect(
        &self,
        envelope: &Envelope<'_>,
        request: &wire::v1::CollectRequest,
    ) -> Result<Batch, CollectError> {
        let domain = request.site.as_str();
        let (site, sender) = self.admit(envelope, domain, request.events.len())?;
        self.enricher
            .counters
            .hits
            .grpc
            .increment(request.events.len() as u64);
        let hits = request
            .events
            .iter()
            .map(|event| collector::hit(event, domain, &sender));
        Ok(self.enrich_batch(&site, domain, hits))
    }

    /// Decides about a batch as a whole: its size, its key, its site, its rates.
    fn admit<'a>(
        &self,
        envelope: &'a Envelope<'a>,
        domain: &str,
        events: usize,
    ) -> Result<(Arc<SiteRules>, Sender<'a>), CollectError> {
        let events_max = self.settings().batch_events_max;
        if events > events_max {
            return Err(CollectError::TooManyEvents {
                found: events,
                events_max,
            });
        }
        let grant = self.grant(envelope)?;
        let address = self.client_address(envelope);
        if grant.is_none() {
            self.take_from_address(address, events)?;
        }
        let site = self.enricher.sites.rules(domain).ok_or_else(|| {
            self.count_dropped(DropReason::UnknownSite, events);
            CollectError::unknown_site(domain)
        })?;
        if grant.is_some_and(|grant| !grant.permits_writing(site.id())) {
            return Err(CollectError::Forbidden);
        }
        self.take_from_site(&site, events)?;
        let sender = Sender {
            envelope,
            address,
            is_trusted: grant.is_some(),
        };
        Ok((site, sender))
    }

    fn grant(&self, envelope: &Envelope<'_>) -> Result<Option<KeyGrant>, CollectError> {
        let Some(authorization) = envelope.authorization else {
            return Ok(None);
        };
        let unauthenticated = |message: &str| CollectError::Unauthenticated {
            message: message.to_owned(),
        };
        let (scheme, secret) = authorization.trim().split_once(' ').unwrap_or_default();
        if !scheme.eq_ignore_ascii_case("bearer") {
            return Err(unauthenticated(
                "the authorization has to be a bearer token",
            ));
        }
        let now = self.enricher.clock.now();
        let grant = self.enricher.sites.key(secret.trim(), now);
        grant.map(Some).map_err(|reason| unauthenticated(&reason))
    }

    fn client_address(&self, envelope: &Envelope<'_>) -> IpAddr {
        let proxies = &self.settings().trusted_proxies;
        proxies.client_address(envelope.peer, envelope.forwarded_for.as_deref())
    }

    fn take_from_address(&self, address: IpAddr, events: usize) -> Result<(), CollectError> {
        let now = self.enricher.clock.now();
        let count = u32::try_from(events).unwrap_or(u32::MAX);
        let taken = self
            .addresses
            .take(address, self.settings().address_rate, now, count);
        taken.map_err(|retry_after_ms| self.rate_limited("address", events, retry_after_ms))
    }

    fn take_from_site(&self, site: &SiteRules, events: usize) -> Result<(), CollectError> {
        let now = self.enricher.clock.now();
        let count = u32::try_from(events).unwrap_or(u32::MAX);
        let taken = site.rate.take(self.settings().site_rate, now, count);
        taken.map_err(|retry_after_ms| self.rate_limited("site", events, retry_after_ms))
    }

    fn rate_limited(&self, what: &'static str, events: usize, retry_after_ms: u32) -> CollectError {
        self.count_dropped(DropReason::RateLimited, events);
        CollectError::RateLimited {
            what,
            retry_after_ms,
        }
    }

    fn enrich_batch<'h>(
        &self,
        site: &Arc<SiteRules>,
        domain: &str,
        hits: impl ExactSizeIterator<Item = Result<Hit<'h>, DropReason>>,
    ) -> Batch {
        let receipt = self.enricher.clock.now();
        let mut batch = Batch::new(Arc::clone(site), hits.len());
        self.enricher.memos.with(|memo| {
            memo.site = Some((domain.into(), Arc::clone(site)));
            for (position, hit) in hits.enumerate() {
                batch.add(position as u32, self.enrich(memo, hit, receipt));
            }
        });
        batch
    }

    /// One event of one site; none is sent when it is dropped for good.
    fn enrich_one(
        &self,
        hit: &Hit<'_>,
        receipt: UnixMillis,
    ) -> Result<(Option<Batch>, Option<DropReason>), CollectError> {
        if let Some(site) = self.enricher.sites.rules(hit.domain) {
            self.take_from_site(&site, 1)?;
        }
        let enriched = self
            .enricher
            .memos
            .with(|memo| pipeline::enrich(&self.enricher, memo, hit, receipt, Mode::Live));
        match enriched {
            Ok(enriched) => {
                let reason = enriched.event.dropped;
                let mut batch = Batch::new(enriched.site, 1);
                batch.add(0, Ok(enriched.event));
                Ok((Some(batch), reason))
            }
            Err(reason) => Ok((None, Some(reason))),
        }
    }

    fn enrich(
        &self,
        memo: &mut Memo,
        hit: Result<Hit<'_>, DropReason>,
        receipt: UnixMillis,
    ) -> Result<Event, DropReason> {
        match hit {
            Ok(hit) => pipeline::enrich(&self.enricher, memo, &hit, receipt, Mode::Live)
                .map(|enriched| enriched.event),
            Err(reason) => {
                self.count_dropped(reason, 1);
                Err(reason)
            }
        }
    }

    async fn send(&self, batch: Batch) -> Result<InFlight, CollectError> {
        let receipt = match batch.events.is_empty() {
            true => None,
            false => Some(self.sink.submit(batch.site.id(), batch.events).await?),
        };
        Ok(InFlight {
            receipt,
            sent: batch.sent,
            dropped: batch.dropped,
        })
    }

    fn counted<T>(&self, result: Result<T, CollectError>) -> Result<T, CollectError> {
        result.inspect_err(|error| self.count_refused(error))
    }

    pub(crate) fn count_refused(&self, error: &CollectError) {
        self.enricher.counters.refused(error.kind());
    }

    fn count_malformed(&self) {
        self.count_dropped(DropReason::Malformed, 1);
    }

    fn count_dropped(&self, reason: DropReason, events: usize) {
        self.enricher.counters.dropped(reason, events as u64);
    }
}

/// Enriched events of one site, and what was dropped beside them.
struct Batch {
    site: Arc<SiteRules>,
    events: Vec<Event>,
    sent: Vec<Sent>,
    dropped: Vec<(u32, DropReason)>,
}

/// An event that travels: its position in the request, and its reason if it only travels to be kept for repair.
#[derive(Clone, Copy)]
struct Sent {
    position: u32,
    dropped: Option<DropReason>,
}

impl Batch {
    fn new(site: Arc<SiteRules>, events: usize) -> Self {
        Self {
            site,
            events: Vec::with_capacity(events),
            sent: Vec::with_capacity(events),
            dropped: Vec::new(),
        }
    }

    fn add(&mut self, position: u32, result: Result<Event, DropReason>) {
        match result {
            Ok(event) => {
                self.sent.push(Sent {
                    position,
                    dropped: event.dropped,
                });
                self.events.push(event);
            }
            Err(reason) => self.dropped.push((position, reason)),
        }
    }
}

/// Events on their way, and what was dropped beside them.
pub(crate) struct InFlight {
    receipt: Option<Box<dyn Receipt>>,
    sent: Vec<Sent>,
    dropped: Vec<(u32, DropReason)>,
}

impl InFlight {
    /// Waits until the events are durable.
    pub(crate) async fn committed(mut self) -> Result<Collected, CollectError> {
        let durable = match &mut self.receipt {
            Some(receipt) => receipt.committed().await?,
            None => Durable::Replicated,
        };
        let mut collected = Collected {
            durable: 0,
            is_pending: durable == Durable::Spooled,
            dropped: self.dropped,
        };
        for sent in self.sent {
            match sent.dropped {
                None => collected.durable += 1,
                Some(reason) => collected.dropped.push((sent.position, reason)),
            }
        }
        collected
            .dropped
            .sort_unstable_by_key(|(position, _)| *position);
        Ok(collected)
    }

    /// Waits until the events are counted.
    pub(crate) async fn applied(self) -> Result<EventsAnswer, CollectError> {
        let verdicts = match self.receipt {
            Some(receipt) => receipt.applied().await?,
            None => Some(Vec::new()),
        };
        let mut answer = EventsAnswer {
            is_waiting: verdicts.is_none(),
            ..EventsAnswer::default()
        };
        // What waits to be counted is late as far as the sender is concerned.
        let verdicts = verdicts.unwrap_or_else(|| vec![Verdict::Late; self.sent.len()]);
        if verdicts.len() != self.sent.len() {
            return Err(CollectError::Sink(crate::SinkError {
                kind: ringtail_proto::ErrorKind::Internal,
                message: format!(
                    "{} verdicts came for {} events",
                    verdicts.len(),
                    self.sent.len()
                ),
            }));
        }
        for (sent, verdict) in self.sent.iter().zip(verdicts) {
            match sent.dropped {
                None => answer.add(sent.position, verdict),
                Some(reason) => answer.add_drop(sent.position, reason),
            }
        }
        for (position, reason) in self.dropped {
            answer.add_drop(position, reason);
        }
        answer
            .dropped
            .sort_unstable_by_key(|dropped| dropped.position);
        Ok(answer)
    }
}

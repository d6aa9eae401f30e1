//! The clients of a run: seeded visitors, whose batches are offered to any node and tried again with the same ids.

use std::{collections::BTreeMap, rc::Rc, sync::Arc, time::Duration};

use jiff::Timestamp;
use parking_lot::Mutex;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use ringtail_proto::{Event, EventId, SiteId, UnixMillis, VisitorId};
use ringtail_router::Durability;
use tokio::{
    task::{JoinSet, spawn_local},
    time::{sleep, sleep_until, timeout},
};

use super::{clock::EPOCH_MS, plan::LATE_NODE, ring::Ring};
use crate::{
    client::Answer,
    workload::{Batch, EventName, Generator, GeneratorOptions, Ledger, PlannedEvent, Site},
};

/// A client that waits longer than this learns nothing.
const ANSWER_AFTER_MAX: Duration = Duration::from_secs(8);
/// Before a batch is tried again, at most.
const RETRY_MS_MAX: u64 = 1_500;
/// No clock is so wrong that an event of the plan lies in its future.
const PLAN_ENDS_BEFORE: i64 = 10 * 60;

/// All clients and what they know.
pub(crate) struct Visitors {
    ring: Arc<Ring>,
    seed: u64,
    sites: BTreeMap<String, SiteId>,
    ledger: Mutex<Ledger>,
    acknowledged: Mutex<[u64; 2]>,
}

impl Visitors {
    pub(crate) fn new(ring: Arc<Ring>, seed: u64, sites: BTreeMap<String, SiteId>) -> Rc<Self> {
        Rc::new(Self {
            ring,
            seed,
            sites,
            ledger: Mutex::default(),
            acknowledged: Mutex::default(),
        })
    }

    /// The plan of the batches, from the seed alone.
    pub(crate) fn batches(seed: u64) -> Generator {
        let until = Timestamp::from_second(EPOCH_MS / 1_000 - PLAN_ENDS_BEFORE);
        let until = until.expect("it lies in 2025");
        Generator::new(GeneratorOptions {
            visitors_per_site: 40,
            events_per_batch_max: 8,
            recent_percent: 75,
            ..GeneratorOptions::new(seed, until)
        })
    }

    /// Offers a batch every now and then; ends when the time is over and each batch is answered or given up.
    pub(crate) async fn run(self: &Rc<Self>, lasting: Duration, pause: Duration) {
        let started = tokio::time::Instant::now();
        let mut clients = JoinSet::new();
        for (number, batch) in (0_u32..).zip(Self::batches(self.seed)) {
            let at = started + pause * number;
            if at >= started + lasting {
                break;
            }
            sleep_until(at).await;
            let visitors = Rc::clone(self);
            clients.spawn_local(async move { visitors.client(batch, started + lasting).await });
        }
        while clients.join_next().await.is_some() {}
    }

    /// One batch's way. What its client does depends on the seed and on the answers, never on other clients.
    async fn client(&self, batch: Batch, until: tokio::time::Instant) {
        let mut dice = ChaCha8Rng::seed_from_u64(self.seed ^ (batch.number << 20));
        loop {
            let host = dice.random_range(1..=LATE_NODE);
            let pause = Duration::from_millis(dice.random_range(20..RETRY_MS_MAX));
            let is_answered = self.offer(&batch, host).await.is_some();
            // Whoever loses the answer asks once more, later; a batch that must be answered outlives the faults.
            let is_over = tokio::time::Instant::now() > until;
            match (is_answered, batch.is_forgotten || batch.is_retried) {
                (true, _) if !batch.is_forgotten || dice.random_bool(0.5) => return,
                (false, false) => return,
                (true, _) if is_over => return,
                _ => {}
            }
            sleep(pause).await;
        }
    }

    /// Offers a batch to the node of a host and notes the answer.
    pub(crate) async fn offer(&self, batch: &Batch, host: u64) -> Option<Durability> {
        let site = *self.sites.get(&batch.domain)?;
        self.ledger.lock().sending(batch);
        let offer = self.ring.offer(host, site, events(batch));
        let answer = timeout(ANSWER_AFTER_MAX, offer).await;
        let answer = answer.unwrap_or_else(|_elapsed| Err("no answer in time".to_owned()));
        let number = batch.number;
        match answer {
            Ok(durability) => {
                self.ring
                    .note(format!("batch {number} at {host}: {durability:?}"));
                let is_spooled = usize::from(durability == Durability::Spooled);
                if let Some(count) = self.acknowledged.lock().get_mut(is_spooled) {
                    *count += 1;
                }
                let accepted = batch.events.len() as u64;
                let answer = Answer {
                    accepted,
                    duplicate: 0,
                    dropped: Vec::new(),
                };
                self.ledger.lock().answered(batch, &answer);
                Some(durability)
            }
            Err(error) => {
                self.ring.note(format!("batch {number} at {host}: {error}"));
                None
            }
        }
    }

    pub(crate) fn ledger(&self) -> &Mutex<Ledger> {
        &self.ledger
    }

    /// Receipts by quorum, and by spool.
    pub(crate) fn acknowledged(&self) -> [u64; 2] {
        *self.acknowledged.lock()
    }

    pub(crate) fn sites(&self) -> impl Iterator<Item = (Site, SiteId)> {
        let sites = Site::three().into_iter();
        sites.filter_map(|site| Some((site.clone(), *self.sites.get(&site.domain)?)))
    }

    /// A batch of one event, beside the plan, to see whether a site's group works.
    pub(crate) fn probe(number: u64, domain: &str) -> Batch {
        let batch = Self::batches(number).find(|batch| batch.domain == domain);
        let mut batch = batch.expect("each site has its turn");
        batch.number = number;
        batch.events.truncate(1);
        batch
    }
}

fn events(batch: &Batch) -> Vec<Event> {
    let (client, place, acquisition) = Default::default();
    let event = |event: &PlannedEvent| Event {
        id: EventId(event.id.as_u128()),
        visitor: VisitorId(0x9E37_79B9_7F4A_7C15_u64.wrapping_mul(u64::from(event.visitor) + 1)),
        visitor_previous: None,
        user_id: None,
        name: match event.name {
            EventName::Pageview => "pageview".into(),
            EventName::Custom => "signup".into(),
        },
        time: Some(UnixMillis(event.time.as_millisecond())),
        page: batch.page().as_str().into(),
        hostname: batch.domain.as_str().into(),
        client: Arc::clone(&client),
        place: Arc::clone(&place),
        acquisition: Arc::clone(&acquisition),
        properties: Vec::new(),
        revenue: None,
        scroll_depth: None,
        engaged_ms: 0,
        flags: Default::default(),
        dropped: None,
    };
    batch.events.iter().map(event).collect()
}

/// Reads again and again at any node, with the index of the last answer as token: totals never fall.
pub(crate) fn spawn_reader(
    visitors: &Rc<Visitors>,
    pause: Duration,
) -> tokio::task::JoinHandle<()> {
    let visitors = Rc::clone(visitors);
    spawn_local(async move {
        let mut dice = ChaCha8Rng::seed_from_u64(visitors.seed ^ 0x4ead);
        let mut last: BTreeMap<String, (u64, u64)> = BTreeMap::new();
        loop {
            sleep(pause).await;
            for (site, id) in visitors.sites() {
                let host = dice.random_range(1..=LATE_NODE);
                let running = visitors.ring.running();
                let Some((_, node)) = running.into_iter().find(|(number, _)| *number == host)
                else {
                    continue;
                };
                let taken = super::reading::Reading::take(&node, id, &site);
                let Ok(Ok(reading)) = timeout(ANSWER_AFTER_MAX, taken).await else {
                    continue;
                };
                let Ok(events) = reading.events() else {
                    continue;
                };
                let count = events + reading.pending_late() as u64;
                let index = reading.index().0;
                let known = last.entry(site.domain.clone()).or_default();
                // A node that is behind the token would have to wait, or to ask another.
                if index < known.0 {
                    continue;
                }
                if count < known.1 {
                    visitors.ring.violated(format!(
                        "events of {} fell from {} at index {} to {count} at index {index} on host {host}",
                        site.domain, known.1, known.0
                    ));
                }
                *known = (index, count);
            }
        }
    })
}

//! What the benches share: a store without rows, and log entries of one partition.

use std::{ops::ControlFlow, sync::Arc};

use bytes::Bytes;
use ringtail_proto::{
    Acquisition, Client, Event, EventFlags, EventId, Place, RowReadError, RowReader, SiteId,
    SiteRow, Text, UnixMillis, VisitorId,
    stored::{BatchWriter, PartitionEntry, partition_entry::Body},
};

pub const SITES: usize = 1_000;
pub const START_MS: i64 = 1_772_409_600_000;
const BATCH_EVENTS: usize = 1_000;

/// The number of events that the environment asks for.
pub fn events_wanted(default: usize) -> usize {
    let wanted = std::env::var("RINGTAIL_BENCH_EVENTS").ok();
    wanted
        .and_then(|events| events.parse().ok())
        .unwrap_or(default)
}

/// A store without rows: nothing in this run comes late.
pub struct NoRows;

impl RowReader for NoRows {
    fn get(&self, _row: SiteRow) -> Result<Option<Bytes>, RowReadError> {
        Ok(None)
    }

    fn range(
        &self,
        _from: SiteRow,
        _to: SiteRow,
        _visit: &mut dyn FnMut(SiteRow, Bytes) -> ControlFlow<()>,
    ) -> Result<(), RowReadError> {
        Ok(())
    }
}

/// A small generator of its own, so that every run applies the same events.
pub struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }

    pub fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }

    pub fn share(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }
}

/// Attribute groups as the pipeline shares them.
pub struct Pool {
    clients: Vec<Arc<Client>>,
    places: Vec<Arc<Place>>,
    acquisitions: Vec<Arc<Acquisition>>,
    pages: Vec<Text>,
    hostname: Text,
    pageview: Text,
}

impl Pool {
    pub fn new(random: &mut Random) -> Self {
        let text = |text: String| Text::from(text);
        Self {
            clients: (0..200)
                .map(|n| {
                    Arc::new(Client {
                        browser: text(format!("Browser {}", n % 7)),
                        browser_version: text(format!("{}.{}", n % 40, n % 3)),
                        os: text(format!("OS {}", n % 5)),
                        os_version: text(format!("{}", n % 12)),
                        device: Text::from_static("Desktop"),
                        screen: Text::from_static("Laptop"),
                        language: text(format!("l{}", n % 20)),
                        raw_user_agent: text(format!("Mozilla/5.0 (some system {n}) like others")),
                    })
                })
                .collect(),
            places: (0..100)
                .map(|n| {
                    Arc::new(Place {
                        country: text(format!("C{}", n % 30)),
                        ..Place::default()
                    })
                })
                .collect(),
            acquisitions: (0..100)
                .map(|n| {
                    Arc::new(Acquisition {
                        source: text(format!("Source {}", n % 40)),
                        channel: text(format!("Channel {}", n % 9)),
                        referrer: text(format!("https://site{n}.example/page")),
                        ..Acquisition::default()
                    })
                })
                .collect(),
            pages: (0..500)
                .map(|_| text(format!("/section/{}/page", random.below(300))))
                .collect(),
            hostname: Text::from_static("www.example.org"),
            pageview: Text::from_static("pageview"),
        }
    }

    pub fn event(&self, visitor: u64, time: i64, random: &mut Random) -> Event {
        let of = |len: usize, spread: u64| (visitor.wrapping_mul(spread) >> 20) as usize % len;
        Event {
            id: EventId(u128::from(random.next()) << 64 | u128::from(random.next())),
            visitor: VisitorId(visitor.wrapping_mul(0x9E37_79B9_7F4A_7C15)),
            visitor_previous: Some(VisitorId(visitor.wrapping_mul(0xD6E8_FEB8_6659_FD93))),
            user_id: None,
            name: self.pageview.clone(),
            time: Some(UnixMillis(time)),
            page: self.pages[random.below(self.pages.len() as u64) as usize].clone(),
            hostname: self.hostname.clone(),
            client: self.clients[of(self.clients.len(), 0x9E37_79B9)].clone(),
            place: self.places[of(self.places.len(), 0x85EB_CA6B)].clone(),
            acquisition: self.acquisitions[of(self.acquisitions.len(), 0xC2B2_AE35)].clone(),
            properties: Vec::new(),
            revenue: None,
            scroll_depth: None,
            engaged_ms: 0,
            flags: EventFlags(0),
            dropped: None,
        }
    }
}

/// Log entries of one partition: sites by Zipf, visitors by site, 1,000 events a second.
pub fn entries(events: usize) -> Vec<Bytes> {
    entries_of(SITES, events)
}

/// Log entries of one partition with so many sites.
pub fn entries_of(sites: usize, events: usize) -> Vec<Bytes> {
    let mut random = Random(0x5EED);
    let pool = Pool::new(&mut random);
    let weights: Vec<f64> = (1..=sites).map(|rank| 1.0 / rank as f64).collect();
    let mut sums = Vec::with_capacity(sites);
    let mut sum = 0.0;
    for weight in &weights {
        sum += weight;
        sums.push(sum);
    }
    let mut entries = Vec::new();
    for batch in 0..events.div_ceil(BATCH_EVENTS) {
        let stamp = START_MS + batch as i64 * 1_000;
        let mut by_site: Vec<Vec<Event>> = (0..sites).map(|_| Vec::new()).collect();
        for _ in 0..BATCH_EVENTS {
            let share = random.share() * sum;
            let site = sums.partition_point(|end| *end < share).min(sites - 1);
            let visitors = 20 + (weights[site] * events as f64 / 40.0) as u64;
            let visitor = (site as u64) << 40 | random.below(visitors);
            by_site[site].push(pool.event(visitor, stamp, &mut random));
        }
        let mut writer = BatchWriter::new();
        for (site, events) in by_site.iter().enumerate() {
            if !events.is_empty() {
                writer.add(SiteId(site as u64), events, None);
            }
        }
        let entry = PartitionEntry {
            stamp_ms: stamp,
            body: Some(Body::Events(writer.finish())),
        };
        entries.push(entry.to_log());
    }
    entries
}

//! How fast entries become objects and objects entries again, on one core, beside DuckDB's `COPY` of the same rows: one
//! line of JSON.
//!
//! Usage: `cargo bench --bench archive_speed -- [--events N] [--sites N] [--without-duckdb]`; Cargo's own `--bench` is
//! ignored. DuckDB writes from a table in its memory, with one thread, sorted as ours, zstd at its default level; our time
//! includes the way from log entries to sorted columns.
#![allow(clippy::print_stdout, clippy::unwrap_used, clippy::indexing_slicing)]

use std::{
    path::Path,
    process::Command,
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use ringtail_archive::{
    Archive, ArchiveOptions, BuiltObject, EntryHead, Location, MergeOptions, Replay, ReplayItem,
    SealBuilder, SealOptions, Selection, Table, merge,
};
use ringtail_proto::{
    GroupId, LogIndex, SiteId, UnixMillis,
    stored::{
        Acquisition, ArchiveObject, Client, EventBatch, Place, Property, Revenue, SiteEvents,
        StoredEvent,
    },
};
use serde_json::{Value, json};

const EVENTS_PER_ENTRY: usize = 200;
const ROUNDS: usize = 3;

struct Arguments {
    events: usize,
    sites: u64,
    with_duckdb: bool,
}

fn main() {
    let arguments = arguments();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    println!("{}", runtime.block_on(run(&arguments)));
}

fn arguments() -> Arguments {
    let mut found = Arguments {
        events: 500_000,
        sites: 150,
        with_duckdb: true,
    };
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--events" => found.events = arguments.next().unwrap().parse().unwrap(),
            "--sites" => found.sites = arguments.next().unwrap().parse().unwrap(),
            "--without-duckdb" => found.with_duckdb = false,
            _ => {}
        }
    }
    found
}

async fn run(arguments: &Arguments) -> Value {
    let log = Traffic::new(arguments.sites).entries(arguments.events);
    let logged: usize = log.iter().map(|(_, batch)| log_bytes(batch)).sum();
    let mut seal_times = Vec::new();
    let mut built = Vec::new();
    for _ in 0..ROUNDS {
        let began = Instant::now();
        built = seal(&log);
        seal_times.push(began.elapsed());
    }
    let events = log.iter().map(|(_, batch)| count(batch)).sum::<usize>();
    let bytes: usize = built.iter().map(|built| built.bytes.len()).sum();
    let directory = tempfile::tempdir().unwrap();
    let archive = open(directory.path()).await;
    for object in &built {
        archive.put(object).await.unwrap();
    }
    let objects: Vec<ArchiveObject> = built.iter().map(|built| built.object.clone()).collect();
    let (all_time, all) = replay(&archive, &objects, Selection::default()).await;
    assert_eq!(all, events);
    let everywhere = LogIndex(0)..=LogIndex(u64::MAX);
    let one = Selection::of_site(SiteId(1), everywhere);
    let (one_time, of_one) = replay(&archive, &objects, one).await;
    let merge_rate = merge_rate(&log, events);
    let mut line = json!({
        "benchmark": "archive_speed",
        "events": events,
        "sites": arguments.sites,
        "seal_events_per_second": rate(events, median(seal_times)),
        "log_bytes_per_event": round(logged as f64 / events as f64),
        "archive_bytes_per_event": round(bytes as f64 / events as f64),
        "replay_all_events_per_second": rate(all, all_time),
        "replay_one_site_events_per_second": rate(of_one, one_time),
        "replay_one_site_events": of_one,
        "merge_events_per_second": merge_rate,
    });
    if arguments.with_duckdb {
        let duckdb = duckdb(directory.path());
        let seconds = duckdb["seconds"].as_f64().unwrap();
        let theirs = duckdb["bytes"].as_f64().unwrap() / events as f64;
        assert_eq!(duckdb["rows"], json!(events));
        line["duckdb_copy_events_per_second"] = rate(events, Duration::from_secs_f64(seconds));
        line["duckdb_bytes_per_event"] = round(theirs);
    }
    line
}

async fn open(directory: &Path) -> Arc<Archive> {
    let options = ArchiveOptions::new(Location::Local(directory.into()));
    Arc::new(Archive::open(options, "bench").await.unwrap())
}

fn seal(log: &[(EntryHead, EventBatch)]) -> Vec<BuiltObject> {
    let mut builder = SealBuilder::new(GroupId(1), SealOptions::default());
    let codes = [0; EVENTS_PER_ENTRY];
    for (head, batch) in log {
        for (slice, events) in batch.sites.iter().enumerate() {
            let codes = &codes[..events.events.len()];
            builder
                .events(*head, slice as u32, batch, events, codes)
                .unwrap();
        }
    }
    builder.finish().unwrap()
}

async fn replay(
    archive: &Arc<Archive>,
    objects: &[ArchiveObject],
    selection: Selection,
) -> (Duration, usize) {
    let began = Instant::now();
    let mut replay = Replay::new(archive.clone(), objects, selection).unwrap();
    let mut events = 0;
    while let Some(item) = replay.next().await.unwrap() {
        if let ReplayItem::Events(slice) = item {
            events += count(&slice.batch);
        }
    }
    (began.elapsed(), events)
}

fn merge_rate(log: &[(EntryHead, EventBatch)], events: usize) -> Value {
    let parts: Vec<(ArchiveObject, Bytes)> = log
        .chunks(log.len().div_ceil(16))
        .flat_map(seal)
        .filter(|built| built.object.table == Table::Events.to_stored() as i32)
        .map(|built| (built.object, built.bytes))
        .collect();
    assert!(events as u64 <= MergeOptions::default().rows_max);
    let began = Instant::now();
    let merged = merge(&parts).unwrap();
    assert_eq!(merged.object.rows, events as u64);
    rate(events, began.elapsed())
}

fn duckdb(archive: &Path) -> Value {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/duckdb/totals.py");
    let environment = concat!(env!("CARGO_TARGET_TMPDIR"), "/duckdb");
    let target = archive.join("copy.parquet");
    let output = Command::new("python3")
        .args([script, environment])
        .arg(archive)
        .arg("--write")
        .arg(target)
        .output()
        .unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    serde_json::from_slice(&output.stdout).unwrap()
}

fn rate(events: usize, time: Duration) -> Value {
    json!((events as f64 / time.as_secs_f64()).round())
}

fn round(value: f64) -> Value {
    json!((value * 10.0).round() / 10.0)
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times[times.len() / 2]
}

fn count(batch: &EventBatch) -> usize {
    batch.sites.iter().map(|slice| slice.events.len()).sum()
}

fn log_bytes(batch: &EventBatch) -> usize {
    prost::Message::encoded_len(batch)
}

/// Visits as they happen: several page views of one visitor on one site, with the same client, place and acquisition.
struct Traffic {
    random: ChaCha8Rng,
    sites: u64,
    stamp_ms: i64,
    open: Vec<Visit>,
}

#[derive(Clone)]
struct Visit {
    site: u64,
    visitor: u64,
    client: Client,
    place: Place,
    acquisition: Acquisition,
    events_left: u32,
}

impl Traffic {
    fn new(sites: u64) -> Self {
        Self {
            random: ChaCha8Rng::seed_from_u64(7),
            sites,
            stamp_ms: 1_795_348_800_000,
            open: Vec::new(),
        }
    }

    fn entries(&mut self, events: usize) -> Vec<(EntryHead, EventBatch)> {
        (0..events.div_ceil(EVENTS_PER_ENTRY) as u64)
            .map(|number| {
                self.stamp_ms += 100;
                let head = EntryHead {
                    index: LogIndex(1_000 + number),
                    stamp: UnixMillis(self.stamp_ms),
                    version: 1,
                };
                (head, self.batch())
            })
            .collect()
    }

    /// Low numbers are far more frequent than high ones.
    fn skewed(&mut self, below: u64) -> u64 {
        let point: f64 = self.random.random();
        ((below as f64).powf(point) - 1.0) as u64
    }

    fn batch(&mut self) -> EventBatch {
        let mut batch = EventBatch::default();
        let mut slices: Vec<SiteEvents> = Vec::new();
        for _ in 0..EVENTS_PER_ENTRY {
            let visit = self.visit();
            let event = self.event(&visit, &mut batch);
            match slices.iter_mut().find(|slice| slice.site == visit.site) {
                Some(slice) => slice.events.push(event),
                None => slices.push(SiteEvents {
                    site: visit.site,
                    events: vec![event],
                    import: None,
                }),
            }
        }
        batch.sites = slices;
        batch
    }

    fn visit(&mut self) -> Visit {
        if self.open.len() < 2_000 {
            let visit = self.new_visit();
            self.open.push(visit);
        }
        let position = self.random.random_range(0..self.open.len());
        self.open[position].events_left -= 1;
        match self.open[position].events_left {
            0 => self.open.swap_remove(position),
            _ => self.open[position].clone(),
        }
    }

    fn new_visit(&mut self) -> Visit {
        let browser = self.skewed(12);
        let major = 120 + self.skewed(20);
        let os = self.skewed(5);
        let (country, city) = (self.skewed(60), self.skewed(400));
        let source = self.skewed(50);
        let text = |text: String| Bytes::from(text);
        Visit {
            site: self.skewed(self.sites),
            visitor: self.random.random(),
            client: Client {
                browser: text(format!("Browser {browser}")),
                browser_version: text(format!("{major}.0")),
                os: text(format!("System {os}")),
                os_version: text(format!("{}", 10 + os)),
                device: text(["Desktop", "Mobile"][self.random.random_range(0..2)].to_owned()),
                screen: text(["1920x1080", "390x844", "1440x900"][browser as usize % 3].to_owned()),
                language: text(["en-US", "de", "fr", "pt-BR"][country as usize % 4].to_owned()),
                raw_user_agent: text(format!(
                    "Mozilla/5.0 (System {os}; x64) AppleWebKit/537.36 (KHTML, like Gecko) Browser{browser}/{major}.0.0.0"
                )),
            },
            place: Place {
                country: text(format!("C{country}")),
                region: text(format!("C{country}-{}", city % 16)),
                city: text(format!("City {city}")),
            },
            acquisition: Acquisition {
                referrer: text(format!("https://source-{source}.example/")),
                source: text(format!("source-{source}")),
                channel: text(
                    ["Organic Search", "Direct", "Referral"][source as usize % 3].to_owned(),
                ),
                raw_referrer: text(format!("https://source-{source}.example/")),
                ..Acquisition::default()
            },
            events_left: self.random.random_range(1..9),
        }
    }

    fn event(&mut self, visit: &Visit, batch: &mut EventBatch) -> StoredEvent {
        let kind = self.random.random_range(0..10);
        let is_engagement = kind < 3;
        let is_custom = kind == 9;
        let name = match (is_engagement, is_custom) {
            (true, _) => "engagement".to_owned(),
            (_, true) => format!("event {}", self.skewed(10)),
            _ => "pageview".to_owned(),
        };
        let page = format!("/articles/{}/a-readable-title", self.skewed(300));
        let properties = match is_custom {
            true => vec![("plan", self.skewed(4)), ("variant", self.skewed(8))],
            false => Vec::new(),
        };
        StoredEvent {
            id_high: self.random.random(),
            id_low: self.random.random(),
            visitor: visit.visitor,
            time_ms: self.stamp_ms - self.random.random_range(0..3_000),
            name: position(&mut batch.texts, name.into()),
            page: position(&mut batch.texts, page.into()),
            hostname: position(
                &mut batch.texts,
                format!("site-{}.example", visit.site).into(),
            ),
            client: position(&mut batch.clients, visit.client.clone()),
            place: position(&mut batch.places, visit.place.clone()),
            acquisition: position(&mut batch.acquisitions, visit.acquisition.clone()),
            scroll_depth_plus_one: if is_engagement {
                self.random.random_range(1..102)
            } else {
                0
            },
            engaged_ms: if is_engagement {
                self.random.random_range(0..60_000)
            } else {
                0
            },
            properties: properties
                .into_iter()
                .map(|(key, value)| Property {
                    key: position(&mut batch.texts, key.into()),
                    value: position(&mut batch.texts, format!("value {value}").into()),
                })
                .collect(),
            revenue: self.random.random_ratio(1, 100).then(|| Revenue {
                amount_micros: 9_990_000,
                currency: "EUR".into(),
            }),
            ..StoredEvent::default()
        }
    }
}

fn position<T: PartialEq>(table: &mut Vec<T>, value: T) -> u32 {
    let found = table.iter().position(|known| *known == value);
    let position = found.unwrap_or_else(|| {
        table.push(value);
        table.len() - 1
    });
    position as u32
}

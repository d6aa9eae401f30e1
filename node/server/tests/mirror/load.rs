//! Sites, their events, and what nodes and mirror hold of them.

use std::{
    collections::BTreeMap,
    thread,
    time::{Duration, Instant, SystemTime},
};

use futures::TryStreamExt as _;
use reqwest::{Method, StatusCode};
use ringtail_aggregator::Aggregator;
use ringtail_checkpoint::{
    CheckpointStore as _, GroupBatch, MemoryStore, SiteReader,
    cassandra::{Mirror, MirrorError},
};
use ringtail_partition::SiteMachine as _;
use ringtail_proto::{GroupId, SiteGeneration};
use serde_json::{Value, json};

use crate::{
    shared::{LOOK, PATIENCE, Shared},
    support::{Node, ring::BROWSER},
};

/// Events in one request.
const REQUEST_EVENTS: u64 = 50;

/// Hashes of sites, by the names that nodes give them.
type Hashes = BTreeMap<String, String>;

/// Some sites, and how many events they got.
pub(crate) struct Load {
    sites: u64,
    token: String,
    pub(crate) sent: u64,
    /// Requests that had to be made again.
    pub(crate) refused: u64,
    first_ms: i64,
}

impl Load {
    /// Adds so many sites to the ring of a node.
    pub(crate) fn new(shared: &Shared, node: &Node, sites: u64) -> Self {
        for site in 0..sites {
            let site = json!({"domain": domain(site)});
            let added = node.admin(Method::POST, "/api/v1/sites", site);
            shared.runtime.block_on(added);
        }
        let now = SystemTime::UNIX_EPOCH.elapsed().unwrap();
        Self {
            sites,
            token: node.token(),
            sent: 0,
            refused: 0,
            first_ms: now.as_millis() as i64 - 40 * 3_600_000,
        }
    }

    /// Sends events over the last 40 hours, each until it is taken.
    pub(crate) fn send(&mut self, shared: &Shared, node: &Node, events: u64) {
        let end = self.sent + events;
        while self.sent < end {
            let numbers = self.sent..end.min(self.sent + REQUEST_EVENTS);
            let body = self.request(numbers.clone());
            let begin = Instant::now();
            loop {
                let sent = node.send(
                    Method::POST,
                    "/api/v1/events",
                    Some(&self.token),
                    body.clone(),
                );
                let (status, answer) = shared.runtime.block_on(sent);
                if status == StatusCode::OK || status == StatusCode::ACCEPTED {
                    break;
                }
                assert!(begin.elapsed() < PATIENCE, "{status} {answer}");
                self.refused += 1;
                thread::sleep(LOOK);
            }
            self.sent = numbers.end;
        }
    }

    /// One request for one site.
    fn request(&self, numbers: std::ops::Range<u64>) -> String {
        let site = domain(numbers.start / REQUEST_EVENTS % self.sites);
        let events = numbers.map(|number| {
            // Most are new, some come late.
            let age_ms = match number % 4 {
                0 => (number * 7_919_000 % (39 * 3_600_000)) as i64,
                _ => 39 * 3_600_000 + 1_800_000,
            };
            let time = jiff::Timestamp::from_millisecond(self.first_ms + age_ms).unwrap();
            json!({
                "id": uuid::Uuid::from_u128(u128::from(number) + (1 << 90)),
                "name": "pageview",
                "time": time.to_string(),
                "url": format!("https://{site}/page/{}", number % 17),
                "user_agent": BROWSER,
                "visitor": format!("visitor {}", number % 2_003),
            })
        });
        json!({"site": site, "events": events.collect::<Vec<_>>()}).to_string()
    }

    /// Waits until nodes and mirror hold the same state of all sites.
    pub(crate) fn until_equal(&self, shared: &Shared, nodes: &[Node], keyspace: &str) {
        let mirror = shared.mirror(&nodes[0], keyspace);
        let begin = Instant::now();
        loop {
            let held: Vec<Hashes> = nodes.iter().map(|node| self.held(shared, node)).collect();
            let mirrored = shared.runtime.block_on(mirrored(&mirror)).unwrap();
            let is_equal = held.iter().all(|held| *held == mirrored);
            if is_equal && mirrored.len() as u64 == self.sites {
                return;
            }
            assert!(
                begin.elapsed() < PATIENCE,
                "{held:#?}\n{mirrored:#?}\n{:#}",
                shared.status(&nodes[0])["mirror"]
            );
            thread::sleep(Duration::from_secs(1));
        }
    }

    /// What a node has of its sites.
    fn held(&self, shared: &Shared, node: &Node) -> Hashes {
        let path = "/api/v1/ring/hashes";
        let asked = node.send(Method::GET, path, Some(&self.token), "");
        let (status, answer) = shared.runtime.block_on(asked);
        if !status.is_success() {
            return Hashes::new();
        }
        let groups = answer["groups"].as_array().unwrap().iter();
        let sites = groups.flat_map(|group| group["sites"].as_object().unwrap());
        let text = |hash: &Value| hash.as_str().unwrap().to_owned();
        sites
            .map(|(site, hash)| (site.clone(), text(hash)))
            .collect()
    }
}

fn domain(site: u64) -> String {
    format!("site{site}.test")
}

/// What the mirror has of all sites, as a node would load it.
async fn mirrored(mirror: &Mirror) -> Result<Hashes, MirrorError> {
    let mut hashes = Hashes::new();
    for group in (1..=16).map(GroupId) {
        for site in mirror.reader().sites(group).await? {
            if let Some(hash) = hash_of(mirror, group, site).await? {
                hashes.insert(site.to_string(), hash);
            }
        }
    }
    Ok(hashes)
}

async fn hash_of(
    mirror: &Mirror,
    group: GroupId,
    site: SiteGeneration,
) -> Result<Option<String>, MirrorError> {
    let reader = mirror.reader();
    let Some(pin) = reader.pin(group, site).await? else {
        return Ok(None);
    };
    let rows: Vec<_> = reader.read_site(pin).try_collect().await?;
    let store = MemoryStore::default().group(group).unwrap();
    let mut batch = GroupBatch::new();
    for (key, value) in rows {
        batch.put(&key, value);
    }
    store.commit(batch).unwrap();
    let rows = SiteReader::new(store.snapshot(), site);
    let state = Aggregator.load(site, b"", &rows).unwrap();
    let hash = Aggregator.state_hash(&state, &rows).unwrap();
    Ok(Some(hex::encode(hash)))
}

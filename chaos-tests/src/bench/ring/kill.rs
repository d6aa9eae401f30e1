//! The node that leads most is killed (SIGKILL), again and again, under a stream of beacons: beacons that no node took,
//! and the time until each partition acknowledges by majority again.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};
use futures::future::try_join_all;
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::{
    task::JoinSet,
    time::{interval, timeout},
};
use uuid::Uuid;

use super::{beacons::BeaconDoor, paced::Paced, stand::RingStand, stream::domains};
use crate::{
    bench::{Figure, Goal},
    client::USER_AGENT,
};

const PARTITIONS: u64 = 16;
/// So many that each partition has a site.
const SITES: usize = 200;
const KILLS: usize = 7;
/// A hundred beacons a second.
const BEACON_PAUSE: Duration = Duration::from_millis(10);
/// Between two probes of a partition: as exactly the gap can be told.
const PROBE_PAUSE: Duration = Duration::from_millis(50);
/// A partition that is silent for longer is an error.
const SILENT_MAX: Duration = Duration::from_secs(60);

/// One run.
pub(in crate::bench) async fn measure() -> anyhow::Result<Vec<Figure>> {
    let mut ring = RingStand::start(3, PARTITIONS).await?;
    let domains = domains(SITES);
    let mut sites: BTreeMap<u64, String> = BTreeMap::new();
    for (domain, group) in ring.add_sites(&domains).await? {
        sites.insert(group, domain);
    }
    ensure!(
        sites.len() as u64 == PARTITIONS,
        "a partition has no site: {sites:?}"
    );
    let door = BeaconDoor {
        http: ring.http().clone(),
        nodes: ring.http_addresses(),
        domains,
    };
    let beacons = Paced::start(door, BEACON_PAUSE);
    let (mut gaps, mut others, mut led) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..KILLS {
        let (seat, groups) = ring.leads_most().await?;
        led.push(groups);
        let killed = ring.kill(seat).await?;
        let mut silent = until_acknowledged(&ring, &sites, killed).await?;
        silent.sort_unstable();
        gaps.push(*silent.last().context("there are partitions")?);
        others.push(*silent.first().context("there are partitions")?);
        ring.start_again(seat).await?;
        ring.until_settled().await?;
    }
    let outcome = beacons.finish().await?;
    ring.end().await?;
    gaps.sort_unstable();
    let all: Vec<f64> = gaps.iter().map(Duration::as_secs_f64).collect();
    let median = all.get(all.len() / 2).copied().unwrap_or_default();
    let longest = all.last().copied().unwrap_or_default();
    let quickest = others.iter().map(Duration::as_secs_f64);
    Ok(vec![
        Figure::new(
            "ring_kill_gap_p50",
            median,
            "s until each partition acknowledges",
        )
        .goal(Goal::AtMost(0.9))
        .detail("all", all)
        .detail("first_partition", quickest.collect::<Vec<_>>())
        .detail("groups_led_by_the_killed", led),
        Figure::new(
            "ring_kill_gap_max",
            longest,
            "s until each partition acknowledges",
        )
        .goal(Goal::AtMost(2.0)),
        Figure::new("ring_kill_beacons", outcome.failed.len() as f64, "failed")
            .goal(Goal::AtMost(0.0))
            .detail("taken", outcome.taken)
            .detail("taken_by_a_second_node", outcome.by_another)
            .detail("slowest_ms", outcome.latency.max() as f64 / 1000.0)
            .detail(
                "reasons",
                outcome.failed.into_iter().take(3).collect::<Vec<_>>(),
            ),
    ])
}

/// How long after the kill each partition's first acknowledgement by majority came.
async fn until_acknowledged(
    ring: &RingStand,
    sites: &BTreeMap<u64, String>,
    killed: Instant,
) -> anyhow::Result<Vec<Duration>> {
    let addresses = ring.http_addresses();
    let up = ring.up().into_iter();
    let up: Arc<Vec<String>> =
        Arc::new(up.filter_map(|seat| addresses.get(seat).cloned()).collect());
    let probing = sites.values().map(|domain| {
        let prober = Prober {
            http: ring.http().clone(),
            token: ring.token().to_owned(),
            domain: domain.clone(),
            up: up.clone(),
        };
        tokio::spawn(prober.first(killed))
    });
    try_join_all(probing).await?.into_iter().collect()
}

/// Sends events to one partition until one is acknowledged by majority.
#[derive(Clone)]
struct Prober {
    http: reqwest::Client,
    token: String,
    domain: String,
    up: Arc<Vec<String>>,
}

impl Prober {
    async fn first(self, killed: Instant) -> anyhow::Result<Duration> {
        let mut ticks = interval(PROBE_PAUSE);
        let mut probes = JoinSet::new();
        let last_error = Arc::new(Mutex::new(String::new()));
        let found = timeout(SILENT_MAX, async {
            for number in 0.. {
                tokio::select! {
                    _ = ticks.tick() => {
                        let (prober, last_error) = (self.clone(), last_error.clone());
                        probes.spawn(async move {
                            let is_acknowledged = prober.offer(number).await;
                            let since = killed.elapsed();
                            match is_acknowledged {
                                Ok(true) => Some(since),
                                Ok(false) => None,
                                Err(error) => {
                                    *last_error.lock() = format!("{error:#}");
                                    None
                                }
                            }
                        });
                    }
                    Some(Ok(Some(since))) = probes.join_next() => return since,
                }
            }
            SILENT_MAX
        });
        found.await.with_context(|| {
            format!(
                "{} acknowledges nothing: {}",
                self.domain,
                last_error.lock()
            )
        })
    }

    /// True when a majority has the event, false when it waits in a spool.
    async fn offer(&self, number: usize) -> anyhow::Result<bool> {
        let node = self
            .up
            .get(number % self.up.len())
            .context("a node is up")?;
        let event = json!({
            "id": Uuid::new_v4().to_string(),
            "name": "pageview",
            "url": format!("https://{}/probe", self.domain),
            "user_agent": USER_AGENT,
            "visitor": "probe",
        });
        let response = self
            .http
            .post(format!("http://{node}/api/v1/events"))
            .bearer_auth(&self.token)
            .json(&json!({ "site": self.domain, "events": [event] }))
            .send()
            .await?;
        let status = response.status();
        let answer: Value = response.json().await?;
        ensure!(status.is_success(), "{status}: {answer}");
        Ok(status.as_u16() == 200 && answer.get("accepted") == Some(&json!(1)))
    }
}

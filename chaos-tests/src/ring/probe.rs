//! A probe for each partition: small events at a steady pace, to tell for how long a partition acknowledged nothing.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::Context;
use parking_lot::Mutex;
use reqwest::StatusCode;
use serde_json::json;
use tokio::{
    sync::watch,
    task::JoinSet,
    time::{MissedTickBehavior, interval},
};
use uuid::Uuid;

use crate::{client::USER_AGENT, workload::Endpoint};

/// Between two probes of a partition: what the gaps can be told to.
const PROBE_INTERVAL: Duration = Duration::from_millis(100);
/// A node that takes longer is left for the next one, as an edge would do.
const ANSWER_AFTER_MAX: Duration = Duration::from_secs(3);
/// Probes of one partition under way; more are not begun.
const IN_FLIGHT_MAX: usize = 64;

/// What became of a probe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// A quorum has it.
    Quorum,
    /// A spool has it.
    Spooled,
    /// No node took it.
    Failed,
}

/// A probe that is over.
#[derive(Clone, Copy, Debug)]
pub(super) struct Probe {
    pub(super) sent: Instant,
    pub(super) answered: Instant,
    pub(super) fate: Fate,
}

/// Probes of one partition.
#[derive(Debug, Default)]
pub(super) struct Series {
    pub(super) probes: Vec<Probe>,
}

/// All probes at work.
#[derive(Debug)]
pub(super) struct Probes {
    /// By group; the site that lies in it.
    pub(super) sites: BTreeMap<u64, String>,
    series: Arc<Mutex<BTreeMap<u64, Series>>>,
    stop: watch::Sender<bool>,
    tasks: JoinSet<anyhow::Result<()>>,
}

/// What was seen of all partitions in a span of time.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Seen {
    /// The longest time in which some partition acknowledged nothing by quorum.
    pub(super) gap: Duration,
    pub(super) spooled: u64,
    pub(super) failed: u64,
    pub(super) probes: u64,
}

impl Probes {
    /// Starts a probe for each site.
    pub(super) fn start(
        sites: BTreeMap<u64, String>,
        token: &str,
        endpoints: &watch::Receiver<Vec<Endpoint>>,
    ) -> anyhow::Result<Self> {
        let client = reqwest::Client::builder()
            .timeout(ANSWER_AFTER_MAX)
            .no_proxy()
            .build()?;
        let (stop, stopped) = watch::channel(false);
        let series = Arc::new(Mutex::new(BTreeMap::new()));
        let mut tasks = JoinSet::new();
        for (group, domain) in &sites {
            let prober = Prober {
                client: client.clone(),
                group: *group,
                domain: domain.clone(),
                token: token.to_owned(),
                endpoints: endpoints.clone(),
                series: series.clone(),
            };
            tasks.spawn(prober.run(stopped.clone()));
        }
        Ok(Self {
            sites,
            series,
            stop,
            tasks,
        })
    }

    /// True when every partition has acknowledged by quorum a probe that was sent after this moment.
    pub(super) fn all_acknowledged_since(&self, moment: Instant) -> bool {
        let series = self.series.lock();
        self.sites.keys().all(|group| {
            let probes = series.get(group).map(|series| &series.probes);
            probes.is_some_and(|probes| {
                let mut late = probes.iter().rev();
                late.any(|probe| probe.fate == Fate::Quorum && probe.sent >= moment)
            })
        })
    }

    /// What was seen between two moments.
    pub(super) fn seen(&self, from: Instant, to: Instant) -> Seen {
        let mut seen = Seen::default();
        for series in self.series.lock().values() {
            seen.gap = seen.gap.max(series.gap(from, to));
            for probe in &series.probes {
                if probe.answered >= from && probe.sent <= to {
                    seen.probes += 1;
                    seen.spooled += u64::from(probe.fate == Fate::Spooled);
                    seen.failed += u64::from(probe.fate == Fate::Failed);
                }
            }
        }
        seen
    }

    /// No new probes; for each site how many were acknowledged and how many failed.
    pub(super) async fn finish(mut self) -> anyhow::Result<BTreeMap<String, (u64, u64)>> {
        self.stop.send_replace(true);
        while let Some(ended) = self.tasks.join_next().await {
            ended??;
        }
        let series = self.series.lock();
        let counts = self.sites.iter().map(|(group, domain)| {
            let probes = series.get(group).map(|series| &series.probes);
            let probes = probes.into_iter().flatten();
            let (failed, taken): (Vec<&Probe>, Vec<&Probe>) =
                probes.partition(|probe| probe.fate == Fate::Failed);
            (domain.clone(), (taken.len() as u64, failed.len() as u64))
        });
        Ok(counts.collect())
    }
}

impl Series {
    /// The longest time between two acknowledgements by quorum that has a part in the span.
    fn gap(&self, from: Instant, to: Instant) -> Duration {
        let quorum = self.probes.iter();
        let quorum = quorum.filter(|probe| probe.fate == Fate::Quorum);
        let mut acknowledged: Vec<Instant> = quorum.map(|probe| probe.answered).collect();
        acknowledged.sort_unstable();
        let between = acknowledged.iter().zip(acknowledged.iter().skip(1));
        let overlapping = between.filter(|(before, after)| **after >= from && **before <= to);
        overlapping
            .map(|(before, after)| after.duration_since(*before))
            .max()
            .unwrap_or_default()
    }
}

struct Prober {
    client: reqwest::Client,
    group: u64,
    domain: String,
    token: String,
    endpoints: watch::Receiver<Vec<Endpoint>>,
    series: Arc<Mutex<BTreeMap<u64, Series>>>,
}

impl Prober {
    async fn run(self, mut stopped: watch::Receiver<bool>) -> anyhow::Result<()> {
        let prober = Arc::new(self);
        let mut ticks = interval(PROBE_INTERVAL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
        let mut under_way = JoinSet::new();
        let mut turn = 0;
        loop {
            tokio::select! {
                _ = ticks.tick() => {}
                _ = stopped.wait_for(|stop| *stop) => break,
            }
            while let Some(ended) = under_way.try_join_next() {
                ended?;
            }
            if under_way.len() < IN_FLIGHT_MAX {
                let prober = prober.clone();
                turn += 1;
                under_way.spawn(async move { prober.probe(turn).await });
            }
        }
        while let Some(ended) = under_way.join_next().await {
            ended?;
        }
        Ok(())
    }

    /// One event with one id, offered to one node after the other until one takes it.
    async fn probe(&self, turn: usize) {
        let sent = Instant::now();
        let id = Uuid::new_v4();
        let mut nodes = self.endpoints.borrow().clone();
        if !nodes.is_empty() {
            let first = turn % nodes.len();
            nodes.rotate_left(first);
        }
        let mut fate = Fate::Failed;
        for node in nodes {
            if let Ok(taken) = self.offer(&node.http, id, turn).await {
                fate = taken;
                break;
            }
        }
        let probe = Probe {
            sent,
            answered: Instant::now(),
            fate,
        };
        let mut series = self.series.lock();
        series.entry(self.group).or_default().probes.push(probe);
    }

    async fn offer(&self, http: &str, id: Uuid, turn: usize) -> anyhow::Result<Fate> {
        let body = json!({
            "site": self.domain,
            "events": [{
                "id": id.to_string(),
                "name": "pageview",
                "url": format!("https://{}/probe", self.domain),
                "visitor": format!("visitor-{}", turn % 7),
                "user_agent": USER_AGENT,
            }],
        });
        let request = self.client.post(format!("http://{http}/api/v1/events"));
        let response = request.bearer_auth(&self.token).json(&body).send().await?;
        match response.status() {
            StatusCode::OK => Ok(Fate::Quorum),
            StatusCode::ACCEPTED => Ok(Fate::Spooled),
            status => Err(anyhow::anyhow!("{status}")).context(response.text().await?),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_gap_is_the_longest_time_without_a_quorum_that_touches_the_span() {
        let begin = Instant::now();
        let at = |milliseconds: u64| begin + Duration::from_millis(milliseconds);
        let probe = |sent, answered, fate| Probe {
            sent: at(sent),
            answered: at(answered),
            fate,
        };
        let series = Series {
            probes: vec![
                probe(0, 10, Fate::Quorum),
                probe(500, 510, Fate::Quorum),
                probe(600, 2100, Fate::Spooled),
                probe(700, 1310, Fate::Quorum),
                probe(1400, 1410, Fate::Quorum),
            ],
        };
        let gap = |from, to| series.gap(at(from), at(to)).as_millis();
        assert_eq!(gap(550, 1500), 800);
        assert_eq!(gap(0, 400), 500);
        assert_eq!(gap(1350, 1500), 100);
    }
}

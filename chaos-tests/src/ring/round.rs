//! One round: a new ring, load through all nodes, fault after fault, then every promise is checked.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    time::{Duration, Instant},
};

use anyhow::Context;
use jiff::Timestamp;
use rand::{Rng, SeedableRng, seq::SliceRandom};
use rand_chacha::ChaCha8Rng;
use reqwest::Method;
use serde_json::json;
use tokio::time::sleep;

use super::{
    FaultKind, Report, Ring, RingOptions,
    check::{Check, hashes, until_spools_empty},
    cluster::LOOK,
    history::History,
    probe::Probes,
    sandbox::Sandbox,
};
use crate::{
    checkers::Violation,
    client::Client,
    ring_client::SETTLED_AFTER_MAX,
    run::{Reader, whole_minutes},
    watch::watch_counts,
    workload::{Driver, DriverOptions, GeneratorOptions, Outcome, Site},
};

/// Probed before the first fault and between two.
const BETWEEN_FAULTS: Duration = Duration::from_millis(700);
/// Sites made in search of one for each partition.
const PROBE_SITES_MAX: usize = 2_000;

/// How a round is made.
#[derive(Clone, Debug)]
pub struct RoundOptions {
    /// Decides the workload, the order of the faults, whom they hit and for how long.
    pub seed: u64,
    /// The ring.
    pub ring: RingOptions,
    /// Faults to choose from; each comes once before any comes again.
    pub faults: Vec<FaultKind>,
    /// The round goes on for so long; none: each fault once, in the order given.
    pub lasting: Option<Duration>,
    /// Batches started each second.
    pub batches_per_second: u32,
    /// From the end of a heal until every partition must acknowledge by quorum.
    pub live_after_max: Duration,
    /// Lines of an access log that are imported before the first fault.
    pub history_lines: u64,
}

impl RoundOptions {
    /// The command that repeats this round: the same plan, for at least as long.
    #[must_use]
    pub fn replay_command(&self) -> String {
        let (seed, ring) = (self.seed, &self.ring);
        let lasting = match self.lasting {
            Some(lasting) => format!("--minutes {}", whole_minutes(lasting)),
            None => "--once".to_owned(),
        };
        let mut command = format!(
            "cargo xtask chaos --seed {seed} {lasting} --nodes {} --partitions {} --batches-per-second {} \
             --live-seconds-max {} --history-lines {}",
            ring.nodes,
            ring.partitions,
            self.batches_per_second,
            self.live_after_max.as_secs(),
            self.history_lines,
        );
        if ring.sandbox == Sandbox::Loopback {
            command.push_str(" --loopback");
        }
        if self.faults != FaultKind::ALL {
            for kind in &self.faults {
                command.push_str(" --fault ");
                command.push_str(kind.name());
            }
        }
        command
    }
}

/// Runs a round and adds what it found to the report.
///
/// # Errors
/// When nodes do something that no checker has a word for: they end by themselves, refuse to start, never settle.
pub async fn run(options: &RoundOptions, report: &mut Report) -> anyhow::Result<()> {
    let mut ring = Ring::birth(options.ring.clone()).await?;
    let outcome = with_ring(options, &mut ring, report).await;
    // What a node says about its own end explains most other errors.
    match (outcome, ring.ended()?) {
        (Ok(()), ended) if ended.is_empty() => Ok(()),
        (Ok(()), ended) => Err(anyhow::anyhow!(ended.join("; "))),
        (Err(error), ended) if ended.is_empty() => Err(error),
        (Err(error), ended) => Err(error.context(ended.join("; "))),
    }
}

async fn with_ring(
    options: &RoundOptions,
    ring: &mut Ring,
    report: &mut Report,
) -> anyhow::Result<()> {
    let sites = Site::three();
    let keys = add_sites(ring, &sites).await?;
    let reader = Reader::new(Client::new()?, ring.token().to_owned());
    let probe_sites = probe_sites(ring, options.ring.partitions).await?;
    let history = History::import(ring, options.history_lines).await?;
    let probes = Probes::start(probe_sites, ring.token(), &ring.endpoints())?;
    let (_, grpc) = sites.split_last().context("there are three sites")?;
    let mut driver = Driver::start(
        DriverOptions {
            plan: GeneratorOptions::new(options.seed, Timestamp::now()),
            grpc_domain: grpc
                .first()
                .context("there are three sites")?
                .domain
                .clone(),
            keys,
            batches_per_second: options.batches_per_second,
        },
        ring.endpoints(),
    )?;
    let (stop_watching, stopped) = tokio::sync::oneshot::channel::<()>();
    let watching = watch_counts(reader.clone(), sites.clone(), ring.endpoints(), stopped);
    let watcher = tokio::spawn(watching);
    driver.acknowledged_more(1).await?;
    wait_until_live(&probes, options.live_after_max).await;
    break_things(options, ring, &probes, report).await?;
    ring.start_all().await?;
    driver.acknowledged_more(1).await?;
    let ledger = driver.settle().await?;
    let probes = probes.finish().await?;
    until_spools_empty(ring).await?;
    // A drain writes everything down; what comes back is the checkpoint's word, not the memory's.
    ring.roll().await?;
    // The watcher is done when the last answers are in.
    drop(stop_watching);
    let watched = watcher.await?;
    report.violations.extend(watched.violations);
    report.reads += watched.answers;
    let check = Check {
        ring,
        reader: &reader,
        sites: &sites,
        ledger: &ledger,
        probes: &probes,
        history,
        partitions: options.ring.partitions,
    };
    report.violations.extend(check.run().await?);
    for slot in ring.slots() {
        ring.terminate(slot).await?;
    }
    let ledger = ledger.lock();
    report.rounds += 1;
    report.acknowledged += ledger.count(&Outcome::Acknowledged);
    report.unknown += ledger.count(&Outcome::Unknown);
    report.duplicates += ledger.duplicates();
    Ok(())
}

async fn break_things(
    options: &RoundOptions,
    ring: &mut Ring,
    probes: &Probes,
    report: &mut Report,
) -> anyhow::Result<()> {
    // Another stream of randomness than the plan's.
    let mut random = ChaCha8Rng::seed_from_u64(options.seed.wrapping_add(1));
    let started = Instant::now();
    loop {
        let mut deck = options.faults.clone();
        if options.lasting.is_some() {
            deck.shuffle(&mut random);
        }
        for kind in deck {
            if options
                .lasting
                .is_some_and(|lasting| started.elapsed() >= lasting)
            {
                return Ok(());
            }
            one_fault(kind, &mut random, options, ring, probes, report).await?;
        }
        if options.lasting.is_none() {
            return Ok(());
        }
    }
}

async fn one_fault(
    kind: FaultKind,
    random: &mut ChaCha8Rng,
    options: &RoundOptions,
    ring: &mut Ring,
    probes: &Probes,
    report: &mut Report,
) -> anyhow::Result<()> {
    let (least, most) = kind.lasts_ms();
    let lasting = Duration::from_millis(random.random_range(least..=most));
    let mut fault = kind.make(random);
    sleep(BETWEEN_FAULTS).await;
    let begin = Instant::now();
    let context = || format!("fault {}", kind.name());
    fault.inject(ring).await.with_context(context)?;
    fault.hold(ring, lasting).await.with_context(context)?;
    fault.heal(ring).await.with_context(context)?;
    let healed = Instant::now();
    let is_live = wait_until_live(probes, options.live_after_max).await;
    let recovery = healed.elapsed();
    ring.until_settled().await.with_context(context)?;
    let seen = probes.seen(begin, Instant::now());
    let row = report.rows.entry(kind).or_default();
    row.gaps.push(seen.gap);
    row.recoveries.push(recovery);
    row.probes += seen.probes;
    row.spooled += seen.spooled;
    row.failed += seen.failed;
    if !is_live {
        row.violations += 1;
        report.violations.push(Violation::NotLive {
            fault: kind.name(),
            waited: recovery,
        });
    }
    Ok(())
}

/// Waits until every partition acknowledges by quorum what is sent from now on; false when the bound is over.
async fn wait_until_live(probes: &Probes, at_most: Duration) -> bool {
    let now = Instant::now();
    while !probes.all_acknowledged_since(now) {
        if now.elapsed() > at_most {
            return false;
        }
        sleep(LOOK / 4).await;
    }
    true
}

async fn add_sites(ring: &Ring, sites: &[Site]) -> anyhow::Result<HashMap<String, String>> {
    let mut keys = HashMap::new();
    for site in sites {
        let body = json!({"domain": site.domain, "timezone": site.timezone});
        ring.admin(Method::POST, "/api/v1/sites", body).await?;
        let body = json!({"site": site.domain, "scope": "write"});
        let key = ring.admin(Method::POST, "/api/v1/keys", body).await?;
        let secret = key.get("secret").and_then(|secret| secret.as_str());
        let secret = secret.with_context(|| format!("no secret in {key}"))?;
        keys.insert(site.domain.clone(), secret.to_owned());
    }
    Ok(keys)
}

/// A site in each partition: sites are made until every partition has one. Which one a site lies in shows when its
/// settings arrive there.
async fn probe_sites(ring: &Ring, partitions: u32) -> anyhow::Result<BTreeMap<u64, String>> {
    let first = ring.slots().first().copied().context("a ring has nodes")?;
    let node = ring.node(first)?;
    let mut found = BTreeMap::new();
    let mut known = known_sites(ring, first).await?;
    for number in 0..PROBE_SITES_MAX {
        let domain = format!("probe{number}.example");
        ring.admin(Method::POST, "/api/v1/sites", json!({"domain": domain}))
            .await?;
        let started = Instant::now();
        let group = loop {
            let now = hashes(ring, node).await?;
            let new = now.iter().find_map(|(group, (_, sites))| {
                let mut sites = sites.keys();
                sites.any(|site| !known.contains(site)).then_some(*group)
            });
            if let Some(group) = new {
                known = now
                    .into_values()
                    .flat_map(|(_, sites)| sites.into_keys())
                    .collect();
                break group;
            }
            anyhow::ensure!(
                started.elapsed() < SETTLED_AFTER_MAX,
                "the settings of {domain} never arrive"
            );
            sleep(LOOK / 4).await;
        };
        found.entry(group).or_insert(domain);
        if found.len() == partitions as usize {
            return Ok(found);
        }
    }
    anyhow::bail!(
        "{PROBE_SITES_MAX} sites lie in {} partitions only",
        found.len()
    )
}

async fn known_sites(ring: &Ring, slot: u8) -> anyhow::Result<BTreeSet<String>> {
    let groups = hashes(ring, ring.node(slot)?).await?;
    let sites = groups
        .into_values()
        .flat_map(|(_, sites)| sites.into_keys());
    Ok(sites.collect())
}

//! One run: load, kills, restarts, then every promise is checked.

mod check;
mod read;

use std::{
    collections::{BTreeSet, HashMap},
    fmt,
    path::Path,
    time::{Duration, Instant},
};

use anyhow::Context;
use jiff::Timestamp;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use tokio::{
    sync::{oneshot, watch},
    time::sleep,
};

use crate::{
    checkers::Violation,
    client::Client,
    process::{Node, NodeOptions},
    watch::watch_counts,
    workload::{Driver, DriverOptions, Endpoint, GeneratorOptions, Ledger, Outcome, Site},
};

pub use read::Reader;

/// A node must be ready again after this.
pub const RESTART_MAX: Duration = Duration::from_secs(5);
/// Batches that each life of the node must acknowledge before it is killed, so that each one matters.
const ACKNOWLEDGED_MIN: u64 = 10;

/// How a run is made.
#[derive(Clone, Debug)]
pub struct RunOptions {
    /// Decides the plan and the moments.
    pub seed: u64,
    /// How often the node is killed at least.
    pub kills: u32,
    /// The run goes on killing until so much time has passed.
    pub lasting: Duration,
    /// Batches started each second.
    pub batches_per_second: u32,
    /// How to start the node.
    pub node: NodeOptions,
}

/// What a run found.
#[derive(Debug)]
pub struct Report {
    /// The seed.
    pub seed: u64,
    /// How often the node was killed.
    pub kills: u32,
    /// Events by what the clients know, and answers that said "duplicate".
    pub acknowledged: usize,
    /// Events whose answer never came.
    pub unknown: usize,
    /// Unknown events that are counted.
    pub unknown_counted: usize,
    /// Duplicates that the node found.
    pub duplicates: u64,
    /// The slowest restart.
    pub restart_max: Duration,
    /// Broken promises.
    pub violations: Vec<Violation>,
}

impl fmt::Display for Report {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            formatter,
            "seed {}: {} kills, {} events acknowledged, {} unknown ({} counted), {} duplicates found, slowest restart {:?}",
            self.seed,
            self.kills,
            self.acknowledged,
            self.unknown,
            self.unknown_counted,
            self.duplicates,
            self.restart_max
        )?;
        for violation in self.violations.iter().take(20) {
            writeln!(formatter, "  {violation}")?;
        }
        if !self.violations.is_empty() {
            writeln!(formatter, "  {} violations in all", self.violations.len())?;
        }
        Ok(())
    }
}

/// Loads, kills, restarts and checks.
///
/// # Errors
/// When the node does something that no checker has a word for: it ends by itself, refuses to start, never answers.
pub async fn run(options: RunOptions) -> anyhow::Result<Report> {
    let sites = Site::three();
    let node = Node::start(options.node.clone()).await?;
    let mut keys = HashMap::new();
    for site in &sites {
        keys.insert(
            site.domain.clone(),
            node.add_site(&site.domain, site.timezone).await?,
        );
    }
    let reader = Reader::new(Client::new()?, node.admin_token()?);
    let (endpoint, endpoint_seen) = watch::channel(vec![endpoint_of(&node, 0)]);
    let mut driver = Driver::start(
        DriverOptions {
            plan: GeneratorOptions::new(options.seed, Timestamp::now()),
            grpc_domain: sites
                .first()
                .context("there are three sites")?
                .domain
                .clone(),
            keys,
            batches_per_second: options.batches_per_second,
        },
        endpoint_seen.clone(),
    )?;
    let (stop_watching, stopped) = oneshot::channel();
    let watching = watch_counts(reader.clone(), sites.clone(), endpoint_seen, stopped);
    let watcher = tokio::spawn(watching);
    let (node, kills, mut restarts) =
        kill_and_restart(&options, node, &endpoint, &mut driver).await?;
    let ledger = driver.settle().await?;
    drop(stop_watching);
    let mut violations = watcher.await?.violations;
    // A drain writes everything down; what comes back is the checkpoint's word, not the memory's.
    let node = Node::start(node.terminate().await?).await?;
    restarts.push(node.ready_after);
    let checked = reader.check(&node.http, &sites, &ledger).await?;
    violations.extend(checked.violations);
    node.terminate().await?;
    let slow = restarts.iter().filter(|took| **took > RESTART_MAX);
    violations.extend(slow.map(|&took| Violation::SlowRestart { took }));
    let ledger = ledger.lock();
    Ok(Report {
        seed: options.seed,
        kills,
        acknowledged: ledger.count(&Outcome::Acknowledged),
        unknown: ledger.count(&Outcome::Unknown),
        unknown_counted: unknown_counted(&ledger, &checked.present),
        duplicates: ledger.duplicates(),
        restart_max: restarts.into_iter().max().unwrap_or_default(),
        violations,
    })
}

/// A fresh run in a fresh folder, with the command that repeats it when it fails.
///
/// # Errors
/// See [`run`].
pub async fn run_in(folder: &Path, mut options: RunOptions) -> anyhow::Result<Report> {
    options.node.data_dir = folder.join(format!("seed-{}", options.seed));
    let replay = options.replay_command();
    run(options)
        .await
        .with_context(|| format!("repeat with `{replay}`"))
}

impl RunOptions {
    /// The command that repeats a run: the same plan, for at least as long.
    #[must_use]
    pub fn replay_command(&self) -> String {
        format!(
            "cargo xtask chaos --nodes 1 --seed {} --minutes {} --batches-per-second {}",
            self.seed,
            whole_minutes(self.lasting),
            self.batches_per_second
        )
    }
}

/// Minutes that are long enough for this.
pub(crate) fn whole_minutes(lasting: Duration) -> u64 {
    lasting.as_millis().div_ceil(60_000).max(1) as u64
}

fn endpoint_of(node: &Node, life: u32) -> Endpoint {
    Endpoint {
        http: node.http.clone(),
        grpc: node.grpc.clone(),
        life,
    }
}

async fn kill_and_restart(
    options: &RunOptions,
    mut node: Node,
    endpoint: &watch::Sender<Vec<Endpoint>>,
    driver: &mut Driver,
) -> anyhow::Result<(Node, u32, Vec<Duration>)> {
    // Another stream of randomness than the plan's.
    let mut random = ChaCha8Rng::seed_from_u64(options.seed.wrapping_add(1));
    let started = Instant::now();
    let mut restarts = Vec::new();
    let mut kills = 0;
    while kills < options.kills || started.elapsed() < options.lasting {
        driver.acknowledged_more(ACKNOWLEDGED_MIN).await?;
        // The random moment itself; nothing is awaited here.
        sleep(Duration::from_millis(random.random_range(0..800))).await;
        let again = node.kill().await?;
        endpoint.send_replace(Vec::new());
        kills += 1;
        node = Node::start(again).await?;
        restarts.push(node.ready_after);
        endpoint.send_replace(vec![endpoint_of(&node, kills)]);
    }
    driver.acknowledged_more(ACKNOWLEDGED_MIN).await?;
    Ok((node, kills, restarts))
}

/// Events of counted batches whose answer never came.
fn unknown_counted(ledger: &Ledger, present: &BTreeSet<u64>) -> usize {
    let batches = ledger.entries().map(|entry| &entry.batch);
    let counted = batches.filter(|batch| present.contains(&batch.number));
    let events = counted.flat_map(|batch| &batch.events);
    events
        .filter(|event| *ledger.outcome(event.id) == Outcome::Unknown)
        .count()
}

/// A seed nobody chose.
#[must_use]
pub fn random_seed() -> u64 {
    rand::rng().random_range(0..1_000_000)
}

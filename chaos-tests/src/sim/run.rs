//! One run: the ring is made, goes through its plan, is healed and checked.

mod scenario;
mod world;

use std::{fmt, thread, time::Duration};

use anyhow::anyhow;

use super::{Bug, Plan, trace::hash_of};
use scenario::Outcome;

/// A run that takes longer, in virtual time, hangs.
const LASTING_MAX: Duration = Duration::from_secs(300);
const STACK_BYTES: usize = 16 << 20;

/// What a run is made of.
#[derive(Clone, Debug)]
pub struct SimOptions {
    /// Decides everything.
    pub seed: u64,
    /// What is wrong with the nodes.
    pub bug: Bug,
    /// Faults come for so long, in virtual time.
    pub lasting: Duration,
    /// Virtual time between two batches.
    pub pause: Duration,
}

impl SimOptions {
    /// Nodes without bugs, faults for twenty seconds.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self {
            seed,
            bug: Bug::None,
            lasting: Duration::from_secs(20),
            pause: Duration::from_millis(120),
        }
    }
}

/// What a run showed.
#[derive(Debug)]
pub struct SimReport {
    /// What it was made of.
    pub options: SimOptions,
    /// Its faults.
    pub plan: Plan,
    /// Promises that were broken.
    pub violations: Vec<String>,
    /// Receipts given by a quorum.
    pub by_quorum: u64,
    /// Receipts given by a spool.
    pub by_spool: u64,
    /// From the end of the last fault until every group acknowledged through every node, in virtual time.
    pub live_after: Duration,
    /// Virtual time of the run.
    pub lasted: Duration,
    /// What happened, line by line.
    pub trace: Vec<String>,
}

impl SimReport {
    /// A short name of everything that happened: equal names, equal runs.
    #[must_use]
    pub fn trace_hash(&self) -> String {
        hash_of(&self.trace)
    }
}

impl fmt::Display for SimReport {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            formatter,
            "seed {}: {} faults, {} receipts by quorum, {} by spool, live {:.1} s after the last fault, {:.0} s in all, trace {}",
            self.options.seed,
            self.plan.faults.len(),
            self.by_quorum,
            self.by_spool,
            self.live_after.as_secs_f64(),
            self.lasted.as_secs_f64(),
            self.trace_hash(),
        )?;
        for violation in self.violations.iter().take(12) {
            write!(formatter, "\n  VIOLATION {violation}")?;
        }
        if self.violations.len() > 12 {
            write!(formatter, "\n  and {} more", self.violations.len() - 12)?;
        }
        Ok(())
    }
}

/// The command that runs a seed again.
#[must_use]
pub fn sim_replay_command(options: &SimOptions) -> String {
    let seed = options.seed;
    let mut command = format!(
        "cargo run -p ringtail-chaos --bin ringtail-sim -- --seeds {seed}..{}",
        seed + 1
    );
    if options.bug != Bug::None {
        command += &format!(" --bug {}", options.bug);
    }
    command
}

/// Runs a seed on a thread of its own.
///
/// # Errors
/// When the simulation itself cannot go on: a node panicked, or it has no end.
pub fn simulate(options: SimOptions) -> anyhow::Result<SimReport> {
    let running = thread::Builder::new()
        .name(format!("seed {}", options.seed))
        .stack_size(STACK_BYTES)
        .spawn(move || {
            ringtail_raft::block_inline_on_this_thread();
            ringtail_raft::seed_timeouts_on_this_thread(options.seed);
            let plan = Plan::new(options.seed, options.lasting);
            let outcome = world::run(&options, &plan)?;
            Ok(report(options, plan, outcome))
        })?;
    running
        .join()
        .map_err(|_| anyhow!("the simulation panicked"))?
}

fn report(options: SimOptions, plan: Plan, outcome: Outcome) -> SimReport {
    let [by_quorum, by_spool] = outcome.acknowledged;
    SimReport {
        options,
        plan,
        violations: outcome.violations,
        by_quorum,
        by_spool,
        live_after: outcome.live_after,
        lasted: outcome.lasted,
        trace: outcome.trace,
    }
}

//! The long form of the kill and restart test: run after run, each with its own seed, until the time is over.

#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a command line tool speaks to its terminal"
)]

use std::{
    process::ExitCode,
    time::{Duration, Instant},
};

use clap::Parser;
use ringtail_chaos::{
    process::NodeOptions,
    run::{RunOptions, random_seed, replay_command, run_in},
};

/// One run kills for so long; a long command is many runs.
const RUN_LASTING: Duration = Duration::from_secs(60);

#[derive(Parser)]
struct Arguments {
    /// Seed of the first run; the next ones count up.
    #[arg(long)]
    seed: Option<u64>,
    /// How long to go on.
    #[arg(long, default_value_t = 10)]
    minutes: u64,
    /// Batches started each second.
    #[arg(long, default_value_t = 60)]
    batches_per_second: u32,
}

#[tokio::main]
async fn main() -> anyhow::Result<ExitCode> {
    let arguments = Arguments::parse();
    let started = Instant::now();
    let mut seed = arguments.seed.unwrap_or_else(random_seed);
    let folder = tempfile::tempdir()?;
    loop {
        let left = Duration::from_secs(60 * arguments.minutes).saturating_sub(started.elapsed());
        let options = RunOptions {
            seed,
            kills: 1,
            lasting: RUN_LASTING.min(left),
            batches_per_second: arguments.batches_per_second,
            node: NodeOptions::new(folder.path())?,
        };
        let report = run_in(folder.path(), options).await?;
        print!("{report}");
        if !report.violations.is_empty() {
            println!(
                "repeat with `{}`; its data is kept in {}",
                replay_command(seed),
                folder.keep().display()
            );
            return Ok(ExitCode::FAILURE);
        }
        if started.elapsed() >= Duration::from_secs(60 * arguments.minutes) {
            return Ok(ExitCode::SUCCESS);
        }
        seed += 1;
    }
}

//! The long form of the chaos tests: round after round, each with its own seed, until the time is over.

#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a command line tool speaks to its terminal"
)]

use std::{
    path::PathBuf,
    process::ExitCode,
    time::{Duration, Instant},
};

use clap::Parser;
use ringtail_chaos::{
    process::{NodeOptions, binary},
    ring::{
        self, FaultKind, Report, RingOptions, RoundOptions,
        sandbox::{self, Sandbox},
    },
    run::{RunOptions, random_seed, run_in},
};
use tokio::signal::unix::{SignalKind, signal};

/// One run kills for so long; a long command is many runs.
const RUN_LASTING: Duration = Duration::from_secs(60);
/// One ring lives for so long: its sites must stay small enough to be read page by page.
const ROUND_LASTING: Duration = Duration::from_secs(240);

#[derive(Clone, Debug, PartialEq, Parser)]
struct Arguments {
    /// Seed of the first run; the next ones count up.
    #[arg(long)]
    seed: Option<u64>,
    /// How long to go on.
    #[arg(long, default_value_t = 10)]
    minutes: u64,
    /// Nodes of the ring; 1 kills and restarts a single node.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u8).range(1..=9))]
    nodes: u8,
    /// Only this fault; may be repeated.
    #[arg(long, value_name = "NAME", value_parser = fault)]
    fault: Vec<FaultKind>,
    /// Each fault once, in the order given, however long it takes.
    #[arg(long)]
    once: bool,
    /// No namespaces, also where they are permitted.
    #[arg(long)]
    loopback: bool,
    /// The report as JSON.
    #[arg(long)]
    json: bool,
    /// Partition groups of the ring.
    #[arg(long, default_value_t = 16)]
    partitions: u32,
    /// Batches started each second.
    #[arg(long, default_value_t = 40)]
    batches_per_second: u32,
    /// After a heal every partition must acknowledge by quorum within so many seconds.
    #[arg(long, default_value_t = 15)]
    live_seconds_max: u64,
    /// Lines of an access log that are imported before the first fault, so that snapshots have many parts.
    #[arg(long, default_value_t = 200_000)]
    history_lines: u64,
}

impl Arguments {
    /// A round as it is told here, with its nodes in this folder.
    fn round(&self, place: Sandbox, binary: PathBuf, folder: PathBuf) -> RoundOptions {
        RoundOptions {
            seed: self.seed.unwrap_or_default(),
            ring: RingOptions {
                sandbox: place,
                nodes: self.nodes,
                partitions: self.partitions,
                binary,
                environment: Vec::new(),
                folder,
            },
            faults: self.faults(),
            lasting: None,
            batches_per_second: self.batches_per_second,
            live_after_max: Duration::from_secs(self.live_seconds_max),
            history_lines: self.history_lines,
        }
    }

    fn faults(&self) -> Vec<FaultKind> {
        match &self.fault[..] {
            [] => FaultKind::ALL.to_vec(),
            some => some.to_vec(),
        }
    }
}

fn fault(name: &str) -> Result<FaultKind, String> {
    let names: Vec<&str> = FaultKind::ALL.iter().map(|kind| kind.name()).collect();
    let unknown = || format!("known faults: {}", names.join(", "));
    FaultKind::named(name).ok_or_else(unknown)
}

fn main() -> anyhow::Result<ExitCode> {
    let arguments = Arguments::parse();
    let place = if arguments.nodes == 1 {
        Sandbox::Loopback
    } else {
        sandbox::enter(!arguments.loopback)?
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut terminate = signal(SignalKind::terminate())?;
        let run = async {
            match arguments.nodes {
                1 => single(&arguments).await,
                _ => rounds(&arguments, place).await,
            }
        };
        // Whatever was started ends with the values that are dropped here.
        tokio::select! {
            code = run => code,
            _ = interrupt.recv() => Ok(ExitCode::FAILURE),
            _ = terminate.recv() => Ok(ExitCode::FAILURE),
        }
    })
}

/// Rings under faults.
async fn rounds(arguments: &Arguments, place: Sandbox) -> anyhow::Result<ExitCode> {
    let folder = sandbox::folder()?;
    let started = Instant::now();
    let whole = Duration::from_secs(60 * arguments.minutes);
    let seed = arguments.seed.unwrap_or_else(random_seed);
    let (faults, left_out): (Vec<_>, Vec<_>) = arguments
        .faults()
        .into_iter()
        .partition(|kind| kind.missing(place).is_none());
    let left_out = left_out.into_iter();
    let mut report = Report {
        seed,
        place: place.describe(),
        left_out: left_out
            .filter_map(|kind| Some((kind, kind.missing(place)?)))
            .collect(),
        ..Report::default()
    };
    anyhow::ensure!(!faults.is_empty(), "no fault can be tried here: {report}");
    eprintln!("seed {seed}, {}", report.place);
    let mut round = 0;
    loop {
        let left = whole.saturating_sub(started.elapsed());
        let options = RoundOptions {
            seed: seed + round,
            faults: faults.clone(),
            lasting: (!arguments.once).then(|| ROUND_LASTING.min(left)),
            ..arguments.round(
                place,
                binary()?,
                folder.path().join(format!("round{round}")),
            )
        };
        std::fs::create_dir(&options.ring.folder)?;
        let outcome = ring::run(&options, &mut report).await;
        if outcome.is_err() || !report.violations.is_empty() {
            let kept = sandbox::keep_words(&options.ring.folder, options.seed)?;
            eprintln!("what the nodes said is kept in {}", kept.display());
        }
        let is_over = arguments.once || started.elapsed() >= whole;
        if outcome.is_err() || !report.violations.is_empty() || is_over {
            let is_good = outcome.is_ok() && report.violations.is_empty();
            print(arguments, &report);
            if !is_good {
                eprintln!("repeat with `{}`", options.replay_command());
            }
            if let Err(error) = outcome {
                eprintln!("error: {error:#}");
            }
            return Ok(if is_good {
                ExitCode::SUCCESS
            } else {
                ExitCode::FAILURE
            });
        }
        eprintln!("{report}");
        std::fs::remove_dir_all(&options.ring.folder)?;
        round += 1;
    }
}

fn print(arguments: &Arguments, report: &Report) {
    if arguments.json {
        println!("{}", report.json());
    } else {
        print!("{report}");
    }
}

/// One node that is killed and restarted.
async fn single(arguments: &Arguments) -> anyhow::Result<ExitCode> {
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
        let replay = options.replay_command();
        let report = run_in(folder.path(), options).await?;
        print!("{report}");
        if !report.violations.is_empty() {
            println!(
                "repeat with `{replay}`; its data is kept in {}",
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

#[cfg(test)]
mod tests {
    use super::*;

    fn check(line: &str, lasting: Option<Duration>) {
        let parse = |line: &str| Arguments::try_parse_from(line.split_whitespace().skip(2));
        let original = parse(line).expect("it is a command");
        let options = RoundOptions {
            lasting,
            ..original.round(Sandbox::Loopback, PathBuf::new(), PathBuf::new())
        };
        let again = options.replay_command();
        let parsed = parse(&again).expect("it is a command");
        assert_eq!(parsed, original, "{again}");
    }

    #[test]
    fn the_replay_command_says_everything_that_makes_the_plan() {
        let most = "cargo xtask chaos --seed 7 --nodes 5 --partitions 4 --batches-per-second 20 \
                    --live-seconds-max 60 --history-lines 1000 --loopback";
        let round = Some(Duration::from_secs(170));
        check(&format!("{most} --minutes 3"), round);
        check(
            &format!("{most} --minutes 3 --fault cut-off --fault kill-all"),
            round,
        );
        check(
            &format!("{most} --once --fault kill-all --fault cut-off"),
            None,
        );
    }
}

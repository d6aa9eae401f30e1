//! Runs seeds of the simulator: `ringtail-sim --seeds 0..100`.

#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a command line tool speaks to its terminal"
)]

use std::{ops::Range, path::PathBuf, process::ExitCode, time::Duration, time::Instant};

use clap::Parser;
use ringtail_chaos::sim::{Bug, SimOptions, sim_replay_command, simulate};
use tracing_subscriber::EnvFilter;

#[derive(Parser)]
struct Arguments {
    /// Seeds to run, as `FROM..TO`; the last is not among them.
    #[arg(long, value_parser = seeds)]
    seeds: Range<u64>,
    /// What is wrong with the nodes: a name, to see that it is caught.
    #[arg(long, default_value_t = Bug::None)]
    bug: Bug,
    /// Virtual seconds in which faults come.
    #[arg(long, default_value_t = 20)]
    seconds: u64,
    /// Writes what happened in each run into this folder.
    #[arg(long)]
    traces: Option<PathBuf>,
    /// Prints the plan of each run before it begins.
    #[arg(long)]
    plan: bool,
    /// Goes on after a failure.
    #[arg(long)]
    keep_going: bool,
}

fn seeds(text: &str) -> Result<Range<u64>, String> {
    let (from, to) = text.split_once("..").ok_or("it does not read FROM..TO")?;
    let number = |text: &str| text.parse::<u64>().map_err(|error| error.to_string());
    Ok(number(from)?..number(to)?)
}

fn main() -> anyhow::Result<ExitCode> {
    let arguments = Arguments::parse();
    tracing_subscriber::fmt()
        .with_env_filter(EnvFilter::from_default_env())
        .with_writer(std::io::stderr)
        .without_time()
        .init();
    let mut failed = Vec::new();
    for seed in arguments.seeds {
        let options = SimOptions {
            bug: arguments.bug,
            lasting: Duration::from_secs(arguments.seconds),
            ..SimOptions::new(seed)
        };
        if arguments.plan {
            print!("{}", ringtail_chaos::sim::Plan::new(seed, options.lasting));
        }
        let started = Instant::now();
        let report = match simulate(options.clone()) {
            Ok(report) => report,
            Err(error) => {
                println!(
                    "seed {seed}: {error:#}\nrepeat with `{}`",
                    sim_replay_command(&options)
                );
                failed.push(seed);
                if arguments.keep_going {
                    continue;
                }
                return Ok(ExitCode::FAILURE);
            }
        };
        println!("{report} (took {:.1} s)", started.elapsed().as_secs_f64());
        if let Some(folder) = &arguments.traces {
            std::fs::create_dir_all(folder)?;
            std::fs::write(folder.join(format!("{seed}.txt")), report.trace.join("\n"))?;
        }
        if !report.violations.is_empty() {
            println!("repeat with `{}`", sim_replay_command(&options));
            failed.push(seed);
            if !arguments.keep_going {
                return Ok(ExitCode::FAILURE);
            }
        }
    }
    match failed.is_empty() {
        true => Ok(ExitCode::SUCCESS),
        false => {
            println!("failed: {failed:?}");
            Ok(ExitCode::FAILURE)
        }
    }
}

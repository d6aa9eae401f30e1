//! Measures the figures of speed and prints them as one JSON document; progress goes to stderr.

#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a command line tool speaks to its terminal"
)]

use std::{fs, process::ExitCode};

use anyhow::bail;
use clap::Parser;
use ringtail_chaos::bench::{Figure, MEASUREMENTS, Measurement, serve_echo};
use serde_json::{Value, json};

#[derive(Parser)]
struct Arguments {
    /// Names of the measurements; all that do not take very long when none is given.
    figures: Vec<String>,
    /// Serves as the bare peer of the beacon figure instead.
    #[arg(long, hide = true)]
    echo: bool,
}

fn main() -> anyhow::Result<ExitCode> {
    let arguments = Arguments::parse();
    if arguments.echo {
        serve_echo()?;
        return Ok(ExitCode::SUCCESS);
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    runtime.block_on(measure(chosen(&arguments.figures)?))
}

fn chosen(names: &[String]) -> anyhow::Result<Vec<&'static Measurement>> {
    if names.is_empty() {
        return Ok(MEASUREMENTS
            .iter()
            .filter(|measurement| measurement.is_default)
            .collect());
    }
    let mut chosen = Vec::new();
    for name in names {
        let Some(found) = MEASUREMENTS
            .iter()
            .find(|measurement| measurement.name == name)
        else {
            let known: Vec<&str> = MEASUREMENTS.iter().map(|known| known.name).collect();
            bail!(
                "no measurement is called {name}; there are {}",
                known.join(", ")
            );
        };
        chosen.push(found);
    }
    Ok(chosen)
}

async fn measure(chosen: Vec<&Measurement>) -> anyhow::Result<ExitCode> {
    let mut figures: Vec<Value> = Vec::new();
    let mut failures: Vec<Value> = Vec::new();
    for measurement in chosen {
        eprintln!("measuring {} …", measurement.name);
        match (measurement.measure)().await {
            Ok(measured) => {
                let documents: Vec<Value> = measured.iter().map(Figure::document).collect();
                for document in &documents {
                    eprintln!("  {document}");
                }
                figures.extend(documents);
            }
            Err(error) => {
                eprintln!("  failed: {error:#}");
                failures.push(
                    json!({ "measurement": measurement.name, "error": format!("{error:#}") }),
                );
            }
        }
    }
    let is_success = failures.is_empty();
    let document = json!({ "machine": machine(), "figures": figures, "failures": failures });
    println!("{}", serde_json::to_string_pretty(&document)?);
    Ok(if is_success {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

fn machine() -> Value {
    let information = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = information
        .lines()
        .find_map(|line| line.strip_prefix("model name"));
    json!({
        "processor": model.map(|model| model.trim_start_matches([' ', '\t', ':'])),
        "cores": std::thread::available_parallelism().map_or(1, usize::from),
    })
}

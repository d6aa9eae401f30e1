//! Tests that share one server: a test program of its own (`harness = false`), so that the server is started once,
//! used by one test at a time, and ended after the last, also when tests fail.

#![allow(
    clippy::print_stdout,
    reason = "a test program tells its terminal what it runs"
)]

use std::{
    env,
    panic::{AssertUnwindSafe, catch_unwind},
    process::ExitCode,
    time::Instant,
};

/// A test by its name, which is a claim.
pub type Trial<S> = (&'static str, fn(&mut S));

/// Starts what the tests share and runs those whose names contain the program's argument, as `cargo test` gives it.
pub fn run<S>(trials: &[Trial<S>], start: impl FnOnce() -> anyhow::Result<S>) -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let wanted = arguments.iter().find(|argument| !argument.starts_with('-'));
    let is_wanted = |name: &str| wanted.is_none_or(|wanted| name.contains(wanted.as_str()));
    let chosen: Vec<_> = trials.iter().filter(|(name, _)| is_wanted(name)).collect();
    if arguments.iter().any(|argument| argument == "--list") {
        chosen.iter().for_each(|(name, _)| println!("{name}: test"));
        return ExitCode::SUCCESS;
    }
    println!("\nrunning {} tests", chosen.len());
    if chosen.is_empty() {
        return ExitCode::SUCCESS;
    }
    let mut shared = match start() {
        Ok(shared) => shared,
        Err(error) => {
            println!("what the tests share cannot be started: {error:#}");
            return ExitCode::FAILURE;
        }
    };
    let mut failed = Vec::new();
    for (name, trial) in &chosen {
        let started = Instant::now();
        let outcome = catch_unwind(AssertUnwindSafe(|| trial(&mut shared)));
        let word = if outcome.is_ok() { "ok" } else { "FAILED" };
        println!(
            "test {name} ... {word} ({:.1} s)",
            started.elapsed().as_secs_f64()
        );
        if outcome.is_err() {
            failed.push(*name);
        }
    }
    drop(shared);
    println!("\n{} of {} failed {failed:?}", failed.len(), chosen.len());
    ExitCode::from(u8::from(!failed.is_empty()))
}

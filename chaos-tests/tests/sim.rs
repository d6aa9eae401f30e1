//! The ring under faults, in one process, from seeds.

#![allow(
    clippy::print_stderr,
    reason = "a failing seed says how to run it again"
)]

use std::time::Instant;

use ringtail_chaos::sim::{Bug, Plan, SimOptions, SimReport, sim_replay_command, simulate};

fn run(options: SimOptions) -> SimReport {
    let replay = sim_replay_command(&options);
    let started = Instant::now();
    match simulate(options) {
        Ok(report) => {
            eprintln!("{report} (took {:.1?})", started.elapsed());
            report
        }
        Err(error) => panic!("{error:#}; repeat with `{replay}`"),
    }
}

/// Halves of the seeds, so that two cores share them.
fn all_promises_hold(seeds: std::ops::Range<u64>) {
    for seed in seeds {
        let report = run(SimOptions::new(seed));
        assert!(
            report.violations.is_empty(),
            "{report}\nrepeat with `{}`",
            sim_replay_command(&report.options)
        );
        assert!(report.by_quorum > 50, "hardly anything was tried: {report}");
    }
}

#[test]
fn ten_seeds_of_faults_break_no_promise() {
    all_promises_hold(0..10);
}

#[test]
fn ten_other_seeds_of_faults_break_no_promise() {
    all_promises_hold(10..20);
}

/// What is planted, the seed that shows it, and what the checkers say.
fn is_caught(bug: Bug, seed: u64, expect: &str) {
    let report = run(SimOptions {
        bug,
        ..SimOptions::new(seed)
    });
    assert!(
        report.violations.iter().any(|found| found.contains(expect)),
        "{bug} was not caught: {report}"
    );
}

#[test]
fn an_acknowledgement_before_the_write_is_caught() {
    is_caught(Bug::AckBeforeWrite, 0, "was acknowledged with");
}

#[test]
fn forgotten_ids_of_counted_events_are_caught() {
    is_caught(Bug::ForgetDedup, 0, "differ");
}

#[test]
fn equal_seeds_make_equal_plans() {
    for seed in 0..100 {
        let plan = || Plan::new(seed, SimOptions::new(seed).lasting);
        assert_eq!(plan(), plan());
    }
}

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

/// A bug that one run may miss shows within a few seeds.
const SEEDS_MAX: u64 = 6;

/// Runs seeds with a bug planted until a checker says what it should; none may be needed beyond the limit.
fn is_caught(bug: Bug, first: u64, expect: &str) {
    let caught = (first..first + SEEDS_MAX).any(|seed| {
        let report = run(SimOptions {
            bug,
            ..SimOptions::new(seed)
        });
        report.violations.iter().any(|found| found.contains(expect))
    });
    assert!(caught, "{bug} was not caught");
}

#[test]
fn acknowledgements_before_the_write_are_caught() {
    is_caught(Bug::AckBeforeWrite, 0, "was acknowledged with");
}

#[test]
fn forgotten_ids_of_counted_events_are_caught() {
    is_caught(Bug::ForgetDedup, 4, "differ");
}

#[test]
fn a_spool_that_ends_with_its_process_is_caught() {
    is_caught(Bug::VolatileSpool, 10, "was acknowledged with");
}

#[test]
fn snapshots_without_their_last_rows_are_caught() {
    is_caught(Bug::CutSnapshot, 0, "differ");
}

#[test]
fn a_disk_that_lies_about_syncs_is_caught() {
    is_caught(Bug::LyingDisk, 0, "no quorum answers");
}

/// What happens to the ring and what its clients send is the same in each run of a seed, whatever the ring makes of it.
#[test]
fn equal_seeds_bring_the_same_faults_in_the_same_order() {
    let faults = || {
        let report = run(SimOptions::new(2));
        let faults = report.trace.into_iter();
        faults
            .filter(|line| line.contains("FAULT"))
            .collect::<Vec<_>>()
    };
    let (one, other) = (faults(), faults());
    let without_time = |lines: &[String]| -> Vec<String> {
        let texts = lines.iter().filter_map(|line| line.split("FAULT").nth(1));
        texts.map(str::to_owned).collect()
    };
    assert!(one.len() > 10, "{one:?}");
    assert_eq!(without_time(&one), without_time(&other));
    assert_eq!(
        Plan::new(2, SimOptions::new(2).lasting),
        Plan::new(2, SimOptions::new(2).lasting)
    );
}

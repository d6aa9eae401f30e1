//! A checker counts only after it has caught a planted bug.

#![allow(clippy::unwrap_used, clippy::print_stderr)]

use std::time::Duration;

use ringtail_chaos::{
    checkers::Violation,
    process::{NodeOptions, planted_binary},
    run::{Report, RunOptions, run_in},
};

async fn run_with_bug(seed: u64, bug: &str) -> Report {
    let folder = tempfile::tempdir().unwrap();
    let mut node = NodeOptions::new(folder.path()).unwrap();
    node.binary = planted_binary().unwrap();
    node.environment
        .push(("RINGTAIL_PLANTED_BUG".to_owned(), bug.to_owned()));
    let options = RunOptions {
        seed,
        kills: 8,
        lasting: Duration::ZERO,
        batches_per_second: 60,
        node,
    };
    let report = run_in(folder.path(), options).await.unwrap();
    eprintln!("{bug}: {report}");
    report
}

fn check(report: &Report, is_expected: impl Fn(&Violation) -> bool) {
    let found = report
        .violations
        .iter()
        .filter(|violation| is_expected(violation))
        .count();
    assert!(found > 0, "the bug was not caught: {report}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn acknowledging_before_the_write_is_caught() {
    let report = run_with_bug(11, "ack_before_write").await;
    check(&report, |violation| {
        matches!(violation, Violation::AcknowledgedLost { .. })
    });
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn forgetting_the_dedup_ids_on_restart_is_caught() {
    let report = run_with_bug(12, "forget_dedup_on_restart").await;
    check(&report, |violation| {
        matches!(violation, Violation::CountedTwice { .. })
    });
}

/// The same binary without the switch is as good as the plain one: what is caught is the bug, not the build.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_the_switch_nothing_is_found() {
    let report = run_with_bug(13, "").await;
    assert!(report.violations.is_empty(), "{report}");
}

//! A node that is killed at random moments under load loses nothing that it acknowledged and counts nothing twice.

#![allow(clippy::unwrap_used, clippy::print_stderr)]

use std::time::Duration;

use ringtail_chaos::{
    process::NodeOptions,
    run::{RunOptions, random_seed, run_in},
};

const KILLS: u32 = 22;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn acknowledged_events_count_exactly_once_through_kills() {
    let folder = tempfile::tempdir().unwrap();
    let seed = random_seed();
    let options = RunOptions {
        seed,
        kills: KILLS,
        lasting: Duration::ZERO,
        batches_per_second: 150,
        node: NodeOptions::new(folder.path()).unwrap(),
    };
    let replay = options.replay_command();
    let report = run_in(folder.path(), options).await.unwrap();
    eprintln!("{report}");
    assert!(
        report.violations.is_empty(),
        "{report}repeat with `{replay}`"
    );
    assert_eq!(report.kills, KILLS);
    assert!(
        report.acknowledged > 1_000,
        "the load was too small to prove anything: {report}"
    );
    assert!(
        report.duplicates > 0,
        "no retry met an event that was counted before: {report}"
    );
}

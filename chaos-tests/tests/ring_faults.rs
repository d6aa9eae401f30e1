//! A ring of three real nodes keeps every promise through faults: the short form of `cargo xtask chaos`.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::print_stderr)]

use std::{
    process::Command,
    sync::{Mutex, PoisonError},
};

use ringtail_chaos::{process::binary, run::random_seed};
use serde_json::Value;

/// Two rings at a time would fault each other.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

/// Enough that a snapshot of it has several parts, little enough for a development build.
const HISTORY_LINES: &str = "20000";
/// Generous: it is the long runs that measure.
const LIVE_SECONDS_MAX: &str = "60";

fn chaos(more: &[&str], faults: &[&str]) -> Value {
    let _alone = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    let seed = random_seed().to_string();
    eprintln!("seed {seed}");
    let mut command = Command::new(env!("CARGO_BIN_EXE_ringtail-chaos"));
    command
        .args(["--once", "--json", "--partitions", "4", "--seed", &seed])
        .args(["--batches-per-second", "20"])
        .args(["--live-seconds-max", LIVE_SECONDS_MAX])
        .args(["--history-lines", HISTORY_LINES])
        .args(more)
        .env("RINGTAIL_BIN", binary().unwrap());
    for fault in faults {
        command.args(["--fault", fault]);
    }
    let output = command.output().unwrap();
    let words = String::from_utf8_lossy(&output.stderr);
    let found = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{found}\n{words}");
    serde_json::from_str(&found).unwrap()
}

fn assert_tried(report: &Value, faults: &[&str]) {
    eprintln!("{report}");
    assert_eq!(report["rounds"], 1);
    assert!(report["acknowledged"].as_u64().unwrap() > 200, "{report}");
    assert!(report["reads"].as_u64().unwrap() > 50, "{report}");
    let tried: Vec<&str> = report["faults"]
        .as_array()
        .unwrap()
        .iter()
        .map(|row| row["fault"].as_str().unwrap())
        .collect();
    for fault in faults {
        assert!(tried.contains(fault), "{fault} was not tried: {report}");
    }
}

#[test]
fn a_ring_loses_nothing_through_kills_cuts_and_restarts() {
    let faults = ["kill-leader", "cut-one-way", "cut-all-kill-all"];
    assert_tried(&chaos(&[], &faults), &faults);
}

#[test]
fn without_namespaces_proxies_cut_the_network() {
    let faults = ["cut-off", "kill-follower"];
    let report = chaos(&["--loopback"], &faults);
    assert_tried(&report, &faults);
    assert_eq!(report["place"], "loopback with a proxy before each node");
}

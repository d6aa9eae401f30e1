//! Checkers of rings count only after they have caught a planted bug. Minutes each, so by command only:
//! `cargo xtask build --planted && cargo test -p ringtail-chaos --test planted_ring_bugs -- --ignored`.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::print_stderr)]

use std::process::Command;

use ringtail_chaos::process::planted_binary;
use serde_json::Value;

/// Seeds that may be needed: a cut hits what is on its way at that moment, or just does not.
const TRIES_MAX: u64 = 4;

/// The kinds of violation that a run found.
fn kinds(bug: &str, seed: u64, faults: &[&str]) -> Vec<String> {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ringtail-chaos"));
    command
        .args(["--once", "--json", "--partitions", "4"])
        .args(["--seed", &seed.to_string()])
        .args(["--live-seconds-max", "60"])
        .args(["--history-lines", "20000"])
        .env("RINGTAIL_BIN", planted_binary().unwrap())
        .env("RINGTAIL_PLANTED_BUG", bug);
    for fault in faults {
        command.args(["--fault", fault]);
    }
    let output = command.output().unwrap();
    let words = String::from_utf8_lossy(&output.stderr);
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    eprintln!("{bug}, seed {seed}: {report}\n{words}");
    let violations = report["violations"].as_array().unwrap().iter();
    violations
        .map(|violation| violation["kind"].as_str().unwrap().to_owned())
        .collect()
}

fn check(bug: &str, faults: &[&str], expected: &[&str]) {
    let is_caught = (1..=TRIES_MAX).any(|seed| {
        let found = kinds(bug, seed, faults);
        found.iter().any(|kind| expected.contains(&kind.as_str()))
    });
    assert!(is_caught, "{bug} was not caught by any of {expected:?}");
}

#[test]
#[ignore = "takes minutes"]
fn acknowledging_before_a_quorum_is_caught() {
    let faults = ["cut-off", "cut-off", "cut-off"];
    let expected = ["acknowledged_lost", "probes"];
    check("ack_before_quorum", &faults, &expected);
}

#[test]
#[ignore = "takes minutes"]
fn a_spool_that_a_restart_forgets_is_caught() {
    let expected = ["acknowledged_lost", "probes"];
    check("spool_lost_on_restart", &["cut-all-kill-all"], &expected);
}

#[test]
#[ignore = "takes minutes"]
fn a_snapshot_that_lacks_a_row_is_caught() {
    let faults = ["rolling-restart", "lost-data"];
    let expected = ["diverged", "acknowledged_lost", "numbers"];
    check("snapshot_skips_row", &faults, &expected);
}

/// It needs disks that can stand still, and so root.
#[test]
#[ignore = "takes minutes"]
fn a_leader_that_leads_on_after_a_restart_is_caught() {
    let faults = ["kill-all-unsynced", "kill-all-unsynced"];
    let expected = ["diverged", "acknowledged_lost", "probes", "numbers"];
    check("leader_restore", &faults, &expected);
}

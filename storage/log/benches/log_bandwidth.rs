//! Bandwidth of the log beside that of the disk under it: one line of JSON.
//!
//! The raw probe writes the same bytes in the same batches to a plain file with `pwritev` and `fdatasync`. Rounds of
//! both alternate, so that a disk that changes its mind changes both; the ratio is that of the medians. Usage:
//! `cargo bench --bench log_bandwidth -- [--directory DIR] [--rounds N]`; Cargo's own `--bench` is ignored.
#![allow(clippy::print_stdout, clippy::unwrap_used)]

use std::io::IoSlice;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::channel;
use std::time::Instant;

use bytes::Bytes;
use ringtail_log::{Disk, Entry, LocalDisk, LogOptions, Position, SegmentLog};
use ringtail_proto::{GroupId, LogIndex, NodeId};

/// 100 events of about 90 bytes.
const PAYLOAD_BYTES: usize = 9000;
/// What the log adds to each entry.
const HEADER_BYTES: usize = 52;
const GROUPS: u32 = 16;
/// Appends of one group that wait for the same sync.
const APPENDS_PER_GROUP: u32 = 4;
/// Syncs in one round.
const SYNCS_PER_ROUND: u32 = 200;

fn main() {
    let (directory, rounds) = arguments();
    let scratch = tempfile::tempdir_in(&directory).unwrap();
    let mut raw = Vec::new();
    let mut log = Vec::new();
    for round in 0..rounds {
        raw.push(raw_round(&scratch.path().join(format!("raw-{round}"))));
        log.push(log_round(&scratch.path().join(format!("log-{round}"))));
    }
    let (raw, log) = (median(raw), median(log));
    let batch_bytes = (GROUPS * APPENDS_PER_GROUP) as usize * (PAYLOAD_BYTES + HEADER_BYTES);
    let line = serde_json::json!({
        "benchmark": "log_bandwidth",
        "directory": directory,
        "batch_bytes": batch_bytes,
        "rounds": rounds,
        "raw_bytes_per_second": raw.round(),
        "log_bytes_per_second": log.round(),
        "ratio": (log / raw * 1000.0).round() / 1000.0,
        "goal_ratio_min": 0.8,
    });
    println!("{line}");
}

fn arguments() -> (PathBuf, usize) {
    let (mut directory, mut rounds) = (PathBuf::from("."), 9);
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--directory" => directory = arguments.next().unwrap().into(),
            "--rounds" => rounds = arguments.next().unwrap().parse().unwrap(),
            _ => {}
        }
    }
    (directory, rounds)
}

/// The same payloads in both rounds: incompressible enough for any disk.
fn payload() -> Bytes {
    let mut state = 1_u64;
    let bytes: Vec<u8> = std::iter::repeat_with(|| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        (state >> 56) as u8
    })
    .take(PAYLOAD_BYTES)
    .collect();
    bytes.into()
}

/// Bytes per second of one `pwritev` and one `fdatasync` per batch, into a plain growing file.
fn raw_round(path: &Path) -> f64 {
    let file = LocalDisk.create(path).unwrap();
    let (header, payload) = ([7_u8; HEADER_BYTES], payload());
    let mut offset = 0;
    let start = Instant::now();
    for _ in 0..SYNCS_PER_ROUND {
        let mut slices = Vec::new();
        let mut bytes = 0;
        for _ in 0..GROUPS * APPENDS_PER_GROUP {
            slices.push(IoSlice::new(&header));
            slices.push(IoSlice::new(&payload));
            bytes += (HEADER_BYTES + PAYLOAD_BYTES) as u64;
        }
        file.write_all_at(&mut slices, offset).unwrap();
        file.sync_data().unwrap();
        offset += bytes;
    }
    let rate = offset as f64 / start.elapsed().as_secs_f64();
    LocalDisk.remove(path).unwrap();
    rate
}

/// Bytes per second of the log, every append durable, with as many waiting as the raw probe has in one batch.
fn log_round(directory: &Path) -> f64 {
    let disk: Arc<dyn Disk> = Arc::new(LocalDisk);
    let (log, _) = SegmentLog::open(disk, directory, LogOptions::default()).unwrap();
    let payload = payload();
    let total = u64::from(GROUPS * APPENDS_PER_GROUP * SYNCS_PER_ROUND);
    let (sender, durable) = channel();
    let append = |number: u64| {
        let group = (number % u64::from(GROUPS)) as u32;
        let position = Position {
            term: 1,
            node: NodeId(1),
            index: LogIndex(number / u64::from(GROUPS)),
        };
        let entry = Entry {
            position,
            tag: 1,
            payload: payload.clone(),
        };
        let sender = sender.clone();
        let on_durable = Box::new(move |result| sender.send(result).unwrap());
        log.group(GroupId(group))
            .append(vec![entry], on_durable)
            .unwrap();
    };
    // Twice a batch in flight: while one syncs the next gathers, as it does under load.
    let in_flight = u64::from(GROUPS * APPENDS_PER_GROUP) * 2;
    let start = Instant::now();
    (0..in_flight).for_each(append);
    for number in in_flight..total + in_flight {
        durable.recv().unwrap().unwrap();
        if number < total {
            append(number);
        }
    }
    let bytes = total * (HEADER_BYTES + PAYLOAD_BYTES) as u64;
    let rate = bytes as f64 / start.elapsed().as_secs_f64();
    log.close();
    std::fs::remove_dir_all(directory).unwrap();
    rate
}

fn median(mut rates: Vec<f64>) -> f64 {
    rates.sort_by(f64::total_cmp);
    rates.get(rates.len() / 2).copied().unwrap_or_default()
}

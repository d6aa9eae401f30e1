//! Bandwidth of the log beside that of the disk under it: one line of JSON.
//!
//! The log forms its own batches, so each of its rounds is followed by a raw one that writes as many records with as
//! many syncs to a plain file with `pwritev` and `fdatasync`. The ratio is that of the medians. Usage:
//! `cargo bench --bench log_bandwidth -- [--directory DIR] [--rounds N]`; Cargo's own `--bench` is ignored.
#![allow(clippy::print_stdout, clippy::unwrap_used)]

use std::io::{self, IoSlice};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::channel;
use std::time::Instant;

use bytes::Bytes;
use ringtail_log::{Disk, DiskFile, Entry, LocalDisk, LogOptions, Position, SegmentLog};
use ringtail_proto::{GroupId, LogIndex, NodeId};

/// 100 events of about 90 bytes.
const PAYLOAD_BYTES: usize = 9000;
/// What the log adds to each entry.
const HEADER_BYTES: usize = 52;
const GROUPS: u32 = 16;
/// Appends of one group that wait for the same sync.
const APPENDS_PER_GROUP: u32 = 4;
/// Records in one round.
const RECORDS_PER_ROUND: u64 = 12_800;

fn main() {
    let (directory, rounds) = arguments();
    let scratch = tempfile::tempdir_in(&directory).unwrap();
    let mut raw = Vec::new();
    let mut log = Vec::new();
    let mut batches = Vec::new();
    for round in 0..rounds {
        let (rate, syncs) = log_round(&scratch.path().join(format!("log-{round}")));
        let batch = (RECORDS_PER_ROUND / syncs).max(1);
        log.push(rate);
        raw.push(raw_round(
            &scratch.path().join(format!("raw-{round}")),
            batch,
        ));
        batches.push(batch as f64);
    }
    let (raw, log) = (median(raw), median(log));
    let batch_bytes = median(batches) * (PAYLOAD_BYTES + HEADER_BYTES) as f64;
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
fn raw_round(path: &Path, batch: u64) -> f64 {
    let file = LocalDisk.create(path).unwrap();
    let (header, payload) = ([7_u8; HEADER_BYTES], payload());
    let mut offset = 0;
    let start = Instant::now();
    for _ in 0..RECORDS_PER_ROUND / batch {
        let mut slices = Vec::new();
        let mut bytes = 0;
        for _ in 0..batch {
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

/// Bytes per second of the log, every append durable, and the syncs that it took.
fn log_round(directory: &Path) -> (f64, u64) {
    let syncs = Arc::new(AtomicU64::new(0));
    let disk: Arc<dyn Disk> = Arc::new(CountingDisk(syncs.clone()));
    let (log, _) = SegmentLog::open(disk, directory, LogOptions::default()).unwrap();
    let payload = payload();
    let total = RECORDS_PER_ROUND;
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
    let syncs = syncs.load(Ordering::Relaxed);
    log.close();
    std::fs::remove_dir_all(directory).unwrap();
    (rate, syncs.max(1))
}

/// The local disk, counting syncs of data.
struct CountingDisk(Arc<AtomicU64>);

impl CountingDisk {
    fn count(&self, file: Arc<dyn DiskFile>) -> Arc<dyn DiskFile> {
        Arc::new(CountingFile(file, self.0.clone()))
    }
}

impl Disk for CountingDisk {
    fn create_directory(&self, directory: &Path) -> io::Result<()> {
        LocalDisk.create_directory(directory)
    }

    fn list_files(&self, directory: &Path) -> io::Result<Vec<String>> {
        LocalDisk.list_files(directory)
    }

    fn open(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        Ok(self.count(LocalDisk.open(path)?))
    }

    fn create(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        Ok(self.count(LocalDisk.create(path)?))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        LocalDisk.rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        LocalDisk.remove(path)
    }

    fn sync_directory(&self, directory: &Path) -> io::Result<()> {
        LocalDisk.sync_directory(directory)
    }
}

struct CountingFile(Arc<dyn DiskFile>, Arc<AtomicU64>);

impl DiskFile for CountingFile {
    fn bytes(&self) -> io::Result<u64> {
        self.0.bytes()
    }

    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        self.0.read_exact_at(buffer, offset)
    }

    fn write_all_at(&self, slices: &mut [IoSlice<'_>], offset: u64) -> io::Result<()> {
        self.0.write_all_at(slices, offset)
    }

    fn truncate(&self, bytes: u64) -> io::Result<()> {
        self.0.truncate(bytes)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.1.fetch_add(1, Ordering::Relaxed);
        self.0.sync_data()
    }
}

fn median(mut rates: Vec<f64>) -> f64 {
    rates.sort_by(f64::total_cmp);
    rates.get(rates.len() / 2).copied().unwrap_or_default()
}

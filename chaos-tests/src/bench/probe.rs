//! What the machine and a process do: processor time, memory, the disk's sync.

use std::{
    fs::{self, OpenOptions},
    io::Write,
    path::Path,
    time::{Duration, Instant},
};

use anyhow::Context;
use hdrhistogram::Histogram;

/// Processor time that a process has used, over all its threads.
///
/// # Errors
/// When the process is gone.
pub(super) fn processor_time(pid: u32) -> anyhow::Result<Duration> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let (_, fields) = stat
        .rsplit_once(')')
        .context("a process has a name in brackets")?;
    let field = |number: usize| -> anyhow::Result<u64> {
        let text = fields
            .split_whitespace()
            .nth(number)
            .context("/proc/PID/stat is short")?;
        Ok(text.parse()?)
    };
    // Fields 14 and 15 of the line: user and system time; the state is field 3.
    let ticks = field(11)? + field(12)?;
    let per_second = rustix::param::clock_ticks_per_second();
    Ok(Duration::from_secs_f64(ticks as f64 / per_second as f64))
}

/// Memory of a process that is in RAM, in bytes.
///
/// # Errors
/// When the process is gone.
pub(super) fn resident_bytes(pid: u32) -> anyhow::Result<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kibibytes = line
        .and_then(|line| line.split_whitespace().next())
        .context("no VmRSS")?;
    Ok(kibibytes.parse::<u64>()? * 1024)
}

/// Bytes of all files below a folder.
///
/// # Errors
/// When it cannot be listed.
pub(super) fn folder_bytes(folder: &Path) -> anyhow::Result<u64> {
    let mut bytes = 0;
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let metadata = entry.metadata()?;
        bytes += if metadata.is_dir() {
            folder_bytes(&entry.path())?
        } else {
            metadata.len()
        };
    }
    Ok(bytes)
}

/// How long the disk under a folder takes for `write(4 KiB)` and `fdatasync`, in microseconds.
///
/// # Errors
/// When it cannot be written.
pub(super) fn sync_latency(folder: &Path, rounds: u32) -> anyhow::Result<Histogram<u64>> {
    let path = folder.join("sync-probe");
    let mut file = OpenOptions::new().create(true).append(true).open(&path)?;
    let mut latency = microseconds();
    for _ in 0..rounds {
        let started = Instant::now();
        file.write_all(&[7; 4096])?;
        file.sync_data()?;
        record(&mut latency, started.elapsed());
    }
    fs::remove_file(&path)?;
    Ok(latency)
}

/// A histogram of microseconds up to a minute.
pub(super) fn microseconds() -> Histogram<u64> {
    Histogram::new_with_max(60_000_000, 3).expect("the bounds are in order")
}

/// Notes a duration; what is longer than the histogram counts as its longest.
pub(super) fn record(histogram: &mut Histogram<u64>, took: Duration) {
    histogram.saturating_record(u64::try_from(took.as_micros()).unwrap_or(u64::MAX));
}

/// A percentile in milliseconds.
pub(super) fn milliseconds(histogram: &Histogram<u64>, quantile: f64) -> f64 {
    histogram.value_at_quantile(quantile) as f64 / 1000.0
}

//! What happened in a run, line by line, and its hash: equal traces mean equal runs.

use std::time::Duration;

use parking_lot::Mutex;

/// The lines of a run so far.
#[derive(Default)]
pub(crate) struct Trace {
    now: Mutex<Duration>,
    lines: Mutex<Vec<String>>,
}

impl Trace {
    /// Virtual time, for what is noted between the steps of the simulation.
    pub(crate) fn set_now(&self, now: Duration) {
        *self.now.lock() = now;
    }

    pub(crate) fn note(&self, line: &str) {
        let at = turmoil::sim_elapsed().unwrap_or(*self.now.lock());
        let line = format!("{:>9.3} {line}", at.as_secs_f64());
        tracing::debug!(target: "ringtail_sim", "{line}");
        self.lines.lock().push(line);
    }

    pub(crate) fn take(&self) -> Vec<String> {
        std::mem::take(&mut *self.lines.lock())
    }
}

/// A short name of these lines.
pub(crate) fn hash_of(lines: &[String]) -> String {
    let mut hasher = blake3::Hasher::new();
    for line in lines {
        hasher.update(line.as_bytes());
        hasher.update(b"\n");
    }
    hasher.finalize().to_hex().chars().take(16).collect()
}

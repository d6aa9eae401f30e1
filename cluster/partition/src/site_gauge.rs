//! What a site's actor lets the duties see without asking it.

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};

use ringtail_proto::LogIndex;

use crate::SiteCondition;

/// Stands for "never" and for "clean": larger than any index and any time.
const NONE: u64 = u64::MAX;

/// Wait after the first failed checkpoint; each further wait is twice as long.
const RETRY_MS_MIN: u64 = 2_000;
/// Longest wait between two tries.
const RETRY_MS_MAX: u64 = 5 * 60_000;

/// Written by the site's actor, read by the duties. It outlives an actor that died, so that the next one knows how far
/// the site had come.
#[derive(Debug)]
pub(crate) struct SiteGauge {
    applied: AtomicU64,
    dirty_since: AtomicU64,
    dirty_at_ms: AtomicU64,
    dirty_at_log_bytes: AtomicU64,
    late_at_ms: AtomicU64,
    wants_checkpoint: AtomicBool,
    used_at_ms: AtomicU64,
    /// Checkpoints that failed one after the other.
    failures: AtomicU32,
    retry_at_ms: AtomicU64,
}

/// A reading of the gauge.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Reading {
    /// The first index that only memory holds.
    pub(crate) dirty_since: Option<LogIndex>,
    pub(crate) dirty_at_ms: u64,
    pub(crate) dirty_at_log_bytes: u64,
    pub(crate) late_at_ms: Option<u64>,
    pub(crate) wants_checkpoint: bool,
    pub(crate) used_at_ms: u64,
    /// Checkpoints that failed one after the other.
    pub(crate) failures: u32,
    /// The next one is not tried before; 0 when none failed.
    pub(crate) retry_at_ms: u64,
}

impl SiteGauge {
    pub(crate) const fn new(now_ms: u64) -> Self {
        Self {
            applied: AtomicU64::new(0),
            dirty_since: AtomicU64::new(NONE),
            dirty_at_ms: AtomicU64::new(NONE),
            dirty_at_log_bytes: AtomicU64::new(NONE),
            late_at_ms: AtomicU64::new(NONE),
            wants_checkpoint: AtomicBool::new(false),
            used_at_ms: AtomicU64::new(now_ms),
            failures: AtomicU32::new(0),
            retry_at_ms: AtomicU64::new(0),
        }
    }

    /// The last entry of the site that this process has applied; 0 when it has applied none.
    pub(crate) fn applied(&self) -> LogIndex {
        LogIndex(self.applied.load(Ordering::Acquire))
    }

    /// The actor has come this far. The order matters: whoever sees the partition's new applied index also sees that
    /// the site is dirty.
    pub(crate) fn advance(
        &self,
        applied: LogIndex,
        condition: SiteCondition,
        now_ms: u64,
        log_bytes: u64,
    ) {
        match condition.dirty_since {
            Some(index) => {
                if self.dirty_since.load(Ordering::Relaxed) == NONE {
                    self.dirty_at_ms.store(now_ms, Ordering::Relaxed);
                    self.dirty_at_log_bytes.store(log_bytes, Ordering::Relaxed);
                }
                self.dirty_since.store(index.0, Ordering::Release);
            }
            None => self.dirty_since.store(NONE, Ordering::Release),
        }
        if condition.pending_late == 0 {
            self.late_at_ms.store(NONE, Ordering::Relaxed);
        } else if self.late_at_ms.load(Ordering::Relaxed) == NONE {
            self.late_at_ms.store(now_ms, Ordering::Relaxed);
        }
        self.wants_checkpoint
            .store(condition.wants_checkpoint, Ordering::Relaxed);
        self.applied.fetch_max(applied.0, Ordering::AcqRel);
    }

    /// Somebody needs the site.
    pub(crate) fn touch(&self, now_ms: u64) {
        self.used_at_ms.store(now_ms, Ordering::Relaxed);
    }

    /// A checkpoint failed and cost the state in memory: rebuilding it takes long, so each further try waits longer.
    pub(crate) fn note_failure(&self, now_ms: u64) {
        let before = self.failures.fetch_add(1, Ordering::Relaxed);
        let factor = 1_u64.checked_shl(before).unwrap_or(u64::MAX);
        let delay_ms = RETRY_MS_MIN.saturating_mul(factor).min(RETRY_MS_MAX);
        self.retry_at_ms
            .store(now_ms.saturating_add(delay_ms), Ordering::Relaxed);
    }

    /// A checkpoint was written.
    pub(crate) fn note_success(&self) {
        self.failures.store(0, Ordering::Relaxed);
        self.retry_at_ms.store(0, Ordering::Relaxed);
    }

    pub(crate) fn read(&self) -> Reading {
        let index = |value: u64| (value != NONE).then_some(value);
        Reading {
            dirty_since: index(self.dirty_since.load(Ordering::Acquire)).map(LogIndex),
            dirty_at_ms: self.dirty_at_ms.load(Ordering::Relaxed),
            dirty_at_log_bytes: self.dirty_at_log_bytes.load(Ordering::Relaxed),
            late_at_ms: index(self.late_at_ms.load(Ordering::Relaxed)),
            wants_checkpoint: self.wants_checkpoint.load(Ordering::Relaxed),
            used_at_ms: self.used_at_ms.load(Ordering::Relaxed),
            failures: self.failures.load(Ordering::Relaxed),
            retry_at_ms: self.retry_at_ms.load(Ordering::Relaxed),
        }
    }
}

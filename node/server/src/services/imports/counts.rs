//! What became of the lines of a chunk.

use std::collections::BTreeMap;

use ringtail_proto::{DropReason, Verdict};
use serde::Serialize;

/// What became of a chunk's lines.
#[derive(Debug, Default, Serialize)]
pub(crate) struct ImportCounts {
    accepted: u64,
    duplicates: u64,
    dropped: BTreeMap<&'static str, u64>,
}

impl ImportCounts {
    pub(super) fn drop(&mut self, reason: DropReason) {
        *self.dropped.entry(reason.name()).or_default() += 1;
    }

    pub(super) fn count(&mut self, verdict: Verdict) {
        match verdict {
            Verdict::Accepted | Verdict::Late => self.accepted += 1,
            Verdict::Duplicate => self.duplicates += 1,
            Verdict::Dropped(reason) => self.drop(reason),
        }
    }
}

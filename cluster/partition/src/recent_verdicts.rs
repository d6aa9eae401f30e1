//! Verdicts that no row tells of yet, for those who follow the log.

use std::collections::BTreeMap;

use bytes::Bytes;
use ringtail_proto::{LogIndex, Verdict};

/// The replies to entries of which not every event was plainly accepted, since what notes tell of.
///
/// A site that had an entry in its rows already answers anything: what its notes say counts, so a slice that both tell of is
/// as its note says.
#[derive(Debug, Default)]
pub(crate) struct RecentVerdicts {
    replies: BTreeMap<LogIndex, Bytes>,
}

impl RecentVerdicts {
    /// Takes the reply to an entry: one code for each event of each slice, in their order.
    pub(crate) fn record(&mut self, index: LogIndex, reply: &[u8]) {
        if reply.iter().any(|code| *code != Verdict::Accepted.code()) {
            self.replies.insert(index, Bytes::copy_from_slice(reply));
        }
    }

    /// Notes tell of everything up to here.
    pub(crate) fn forget_through(&mut self, settled: LogIndex) {
        self.replies = self.replies.split_off(&LogIndex(settled.0 + 1));
    }

    /// The replies to entries from one on.
    pub(crate) fn from(&self, first: LogIndex) -> BTreeMap<LogIndex, Bytes> {
        let replies = self.replies.range(first..);
        replies
            .map(|(index, reply)| (*index, reply.clone()))
            .collect()
    }
}

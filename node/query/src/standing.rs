//! Where the replica stands that a report is made from.

use ringtail_proto::{LogIndex, UnixMillis};

/// Where the replica stands that a report is made from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    /// All entries of the site's partition up to here are included.
    pub index: LogIndex,
    /// The leader's highest stamp up to there.
    pub stamp: UnixMillis,
    /// False when the replica may have been left behind by its group: then nobody who could say more was reached.
    pub is_fresh: bool,
}

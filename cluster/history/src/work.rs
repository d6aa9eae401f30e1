//! What an archivist remembers of a group from round to round.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use bytes::Bytes;

/// What an archivist remembers of a group. Whoever holds it is the only one who works on the group's archive here.
#[derive(Default)]
pub(crate) struct GroupWork {
    /// Something waits to be sealed: since when, and the log's bytes by then.
    pub(crate) waiting: Option<(Instant, u64)>,
    /// When merges were looked for.
    pub(crate) merged: Option<Instant>,
    /// When what nobody names was looked for.
    pub(crate) cleaned: Option<Instant>,
    /// Objects that nobody names, and since when.
    pub(crate) unnamed: BTreeMap<String, Instant>,
    /// Objects that could not be merged, and since when: others are merged without them.
    pub(crate) spared: BTreeMap<Bytes, Instant>,
    /// Objects that this node's log does not give back, and since when.
    pub(crate) unlike: BTreeMap<Bytes, Instant>,
}

/// True when it is time again; then it was done now.
pub(crate) fn is_time(last: &mut Option<Instant>, interval: Duration) -> bool {
    if last.is_some_and(|last| last.elapsed() < interval) {
        return false;
    }
    *last = Some(Instant::now());
    true
}

/// Forgets what is older.
pub(crate) fn forget_older(since: &mut BTreeMap<Bytes, Instant>, age_max: Duration) {
    since.retain(|_, since| since.elapsed() < age_max);
}

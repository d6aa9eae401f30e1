//! Since when a group has been quiet, for those who come back after a while.

use bytes::{Buf as _, BufMut, Bytes, BytesMut};
use ringtail_checkpoint::{GroupKey, StoreError};
use ringtail_proto::LogIndex;

use crate::{
    group_history::{corrupt, versioned},
    unsealed::Unsealed,
};

const VERSION: u8 = 1;

/// The last entry at or below the floor that says something to sites. Whoever was told of everything up to there misses
/// nothing, though the log behind it has gone.
#[derive(Debug, Default)]
pub(crate) struct Quiet {
    /// None when it is not known.
    since: Option<LogIndex>,
    /// Such entries above the floor.
    later: Unsealed,
}

impl Quiet {
    pub(crate) const KEY: GroupKey = GroupKey::named("quiet");

    /// What the rows say at a floor. A row of another floor was left by a binary that did not keep it.
    pub(crate) fn load(row: Option<Bytes>, floor: Option<LogIndex>) -> Result<Self, StoreError> {
        let since = match (row, floor) {
            // All of the log is read.
            (_, None) => Some(LogIndex::default()),
            (None, Some(_)) => None,
            (Some(row), Some(floor)) => {
                let mut body = versioned(&row, VERSION)?;
                match (body.try_get_u64(), body.try_get_u64()) {
                    (Ok(of), Ok(since)) => (of == floor.0).then_some(LogIndex(since)),
                    _ => return Err(corrupt("since when it is quiet has another length")),
                }
            }
        };
        Ok(Self {
            since,
            later: Unsealed::default(),
        })
    }

    /// What the rows say together with a floor; none when it is not known.
    pub(crate) fn row(&self, floor: LogIndex) -> Option<Bytes> {
        let since = self.later.last_through(floor).or(self.since)?;
        let mut value = BytesMut::with_capacity(17);
        value.put_u8(VERSION);
        value.put_u64(floor.0);
        value.put_u64(since.0);
        Some(value.freeze())
    }

    /// Takes the next entry that says something to sites.
    pub(crate) fn record(&mut self, index: LogIndex) {
        self.later.record(index);
    }

    /// The floor is here now.
    pub(crate) fn raise(&mut self, floor: LogIndex) {
        self.since = self.later.last_through(floor).or(self.since);
        self.later.forget_through(floor);
    }

    /// True when no entry from the one behind `after` to the floor says something to sites.
    pub(crate) fn is_quiet_after(&self, after: LogIndex) -> bool {
        self.since.is_some_and(|since| since <= after)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_it_was_before_is_known_after_a_restart_at_the_same_floor_only() {
        let mut quiet = Quiet::load(None, None).expect("nothing to read");
        for index in [3, 4, 9] {
            quiet.record(LogIndex(index));
        }
        for (floor, since) in [(2, 0), (3, 3), (8, 4), (12, 9)] {
            let floor = LogIndex(floor);
            let row = quiet.row(floor);
            quiet.raise(floor);
            assert!(quiet.is_quiet_after(LogIndex(since)), "{floor}");
            assert!(since == 0 || !quiet.is_quiet_after(LogIndex(since - 1)));
            let again = Quiet::load(row.clone(), Some(floor)).expect("it is a row of ours");
            assert_eq!(again.since, Some(LogIndex(since)));
            let other = LogIndex(floor.0 + 1);
            let unknown = Quiet::load(row, Some(other)).expect("it is a row of ours");
            assert_eq!((unknown.since, unknown.row(other)), (None, None));
            assert!(!unknown.is_quiet_after(other));
        }
    }
}

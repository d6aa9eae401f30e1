//! Whether there is room for an object, where archive and log share a disk.

use std::sync::Arc;

use ringtail_checkpoint::FreeSpace;

use crate::HistoryError;

/// The log has to go on while objects are written: so much stays free for it.
#[derive(Clone)]
pub struct Room {
    /// The disk of the archive.
    pub free: Arc<dyn FreeSpace>,
    /// Below so many free bytes nothing is written that can wait. What the log waits for may take three quarters of it.
    pub reserve_bytes: u64,
}

/// What an object is written for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Need {
    /// The log can only go once it is there.
    Vital,
    /// It may wait.
    Upkeep,
}

impl Room {
    /// Refuses what finds no room.
    pub(crate) fn check(&self, need: Need, bytes: u64) -> Result<(), HistoryError> {
        let kept = match need {
            Need::Vital => self.reserve_bytes / 4,
            Need::Upkeep => self.reserve_bytes,
        };
        // Who does not know writes: the disk itself refuses what does not fit.
        let Ok(free_bytes) = self.free.free_bytes() else {
            return Ok(());
        };
        let needed_bytes = bytes.saturating_add(kept);
        match free_bytes >= needed_bytes {
            true => Ok(()),
            false => Err(HistoryError::NoRoom {
                free_bytes,
                needed_bytes,
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    struct Disk(u64);

    impl FreeSpace for Disk {
        fn free_bytes(&self) -> io::Result<u64> {
            Ok(self.0)
        }
    }

    #[test]
    fn what_the_log_waits_for_may_use_most_of_the_reserve_and_nothing_else_may() {
        for (free, need, bytes, is_room) in [
            (1_010, Need::Upkeep, 10, true),
            (1_009, Need::Upkeep, 10, false),
            (1_009, Need::Vital, 10, true),
            (260, Need::Vital, 10, true),
            (259, Need::Vital, 10, false),
            (u64::MAX, Need::Upkeep, u64::MAX, true),
        ] {
            let room = Room {
                free: Arc::new(Disk(free)),
                reserve_bytes: 1_000,
            };
            let checked = room.check(need, bytes);
            assert_eq!(checked.is_ok(), is_room, "{free} {need:?} {bytes}");
        }
    }
}

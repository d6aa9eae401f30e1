//! Ids for events that came without one.

use std::{
    hash::Hasher,
    sync::atomic::{AtomicU64, Ordering},
};

use ringtail_proto::EventId;
use siphasher::sip128::{Hasher128, SipHasher13};

/// Gives ids before routing, so that deduplication by id is the only mechanism needed behind it.
///
/// An id is the keyed hash of a counter under 128 random bits of this process: as unlikely to repeat as a random
/// UUID, without asking the system for randomness at each event.
pub(crate) struct EventIds {
    key: [u8; 16],
    next: AtomicU64,
}

impl EventIds {
    pub(crate) fn new(key: [u8; 16]) -> Self {
        Self {
            key,
            next: AtomicU64::new(0),
        }
    }

    pub(crate) fn next(&self) -> EventId {
        id_of(&self.key, self.next.fetch_add(1, Ordering::Relaxed))
    }
}

/// The id of the `position`th event under a key.
pub(crate) fn id_of(key: &[u8; 16], position: u64) -> EventId {
    let mut hasher = SipHasher13::new_with_key(key);
    hasher.write_u64(position);
    let hash = u128::from(hasher.finish128());
    // The bits that say "random UUID, version 4", for whoever reads the id as one.
    let id = hash & !(0xf << 76) & !(0x3 << 62) | 0x4 << 76 | 0x2 << 62;
    EventId(id)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn ids_differ_and_read_as_random_uuids() {
        let ids = EventIds::new([7; 16]);
        let made: HashSet<EventId> = (0..10_000).map(|_| ids.next()).collect();
        assert_eq!(made.len(), 10_000);
        let uuid = uuid::Uuid::from_u128(ids.next().0);
        assert_eq!(uuid.get_version_num(), 4);
        assert_ne!(EventIds::new([8; 16]).next(), EventIds::new([7; 16]).next());
    }
}

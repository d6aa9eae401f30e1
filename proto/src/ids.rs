//! Newtypes for ids, indexes and instants.

use std::fmt;

use serde::{Deserialize, Serialize};

macro_rules! number {
    ($(#[$doc:meta])* $name:ident($inner:ty)) => {
        $(#[$doc])*
        #[derive(
            Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
        )]
        #[serde(transparent)]
        pub struct $name(pub $inner);

        impl fmt::Display for $name {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(formatter)
            }
        }

        impl From<$inner> for $name {
            fn from(value: $inner) -> Self {
                Self(value)
            }
        }
    };
}

number! {
    /// A site; immutable, whatever its domains are called.
    SiteId(u64)
}
number! {
    /// A Raft group: 0 holds the metadata, 1..=N are partitions.
    GroupId(u32)
}
number! {
    /// A slot of the site space; a table in the metadata maps slots to groups.
    Slot(u16)
}
number! {
    /// A node of the ring; never used again after the node is gone.
    NodeId(u64)
}
number! {
    /// Position in a group's log.
    LogIndex(u64)
}
number! {
    /// All derived state of a site under one set of rules.
    Generation(u32)
}

/// One generation of a site: what its own rows hold, and what one actor keeps in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SiteGeneration {
    /// The site.
    pub site: SiteId,
    /// Which of its generations.
    pub generation: Generation,
}

impl SiteGeneration {
    /// None sorts before it.
    pub const MIN: Self = Self {
        site: SiteId(u64::MIN),
        generation: Generation(u32::MIN),
    };
    /// None sorts behind it.
    pub const MAX: Self = Self {
        site: SiteId(u64::MAX),
        generation: Generation(u32::MAX),
    };

    /// The generation that a site is born with.
    #[must_use]
    pub const fn first(site: SiteId) -> Self {
        Self {
            site,
            generation: Generation(0),
        }
    }
}

impl fmt::Display for SiteGeneration {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { site, generation } = self;
        match generation.0 {
            0 => write!(formatter, "{site}"),
            _ => write!(formatter, "{site}#{generation}"),
        }
    }
}

number! {
    /// Keyed hash that stands for a visitor within one site.
    VisitorId(u64)
}
number! {
    /// Milliseconds since the Unix epoch.
    UnixMillis(i64)
}
number! {
    /// UTC start of a site's local hour, in milliseconds since the Unix epoch.
    HourStart(i64)
}

/// Id of an event: 128 bits, normally a UUID. An event counts once per site and id.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct EventId(pub u128);

impl EventId {
    /// The 64 bits under which deduplication and tie-breaks know the event.
    #[must_use]
    pub fn hash(self) -> u64 {
        xxhash_rust::xxh3::xxh3_64(&self.0.to_le_bytes())
    }
}

impl fmt::Display for EventId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        uuid::Uuid::from_u128(self.0).fmt(formatter)
    }
}

impl SiteId {
    /// The number of slots of the site space.
    pub const SLOTS: u16 = 4096;

    /// The slot of this site: a fixed hash, so that all nodes and all versions agree.
    #[must_use]
    pub fn slot(self) -> Slot {
        let hash = xxhash_rust::xxh3::xxh3_64(&self.0.to_le_bytes());
        Slot((hash % u64::from(Self::SLOTS)) as u16)
    }
}

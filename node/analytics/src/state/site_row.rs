//! The site row: all of a site's state but its hours in the store, its ids, and the hot rows of a big site.

use std::collections::BTreeMap;

use bytes::Bytes;
use ringtail_proto::{HourStart, LogIndex, Text, UnixMillis};
use serde::{Deserialize, Serialize};

use super::{imports::Imports, recent::StoredRecent};
use crate::{
    Settings, Zone,
    dedup::StoredDedup,
    goal::{Condition, Goal},
    rows::{
        hour_rows::Folded,
        minute::StoredMinute,
        stored_hour::{RowError, StoredChains, damaged, pack, unpack, versioned},
        stored_values::StoredValues,
    },
};

const SITE_VERSION: u8 = 2;
const HOT_VERSION: u8 = 1;
/// Hot state is written often and read only after a restart.
const COMPRESSION_LEVEL: i32 = 1;

#[derive(Serialize, Deserialize)]
pub(super) struct SiteRowBody {
    pub(super) index: LogIndex,
    pub(super) stamp: UnixMillis,
    pub(super) settings: StoredSettings,
    pub(super) timeout_ms_max: i64,
    pub(super) hot_from: Option<HourStart>,
    pub(super) first_hour: Option<HourStart>,
    pub(super) imports: Imports,
    pub(super) dropped: BTreeMap<u8, u64>,
    pub(super) dedup: StoredDedup,
    pub(super) hours: Vec<(HourStart, Vec<StoredMinute>, Folded)>,
    pub(super) recent_values: StoredValues,
    pub(super) recent: StoredRecent,
    /// The hot rows, oldest first: a chain counts as the newest of them has it.
    pub(super) hot_slots: Vec<u8>,
    /// The chains of a small site.
    pub(super) chains: Option<StoredChains>,
}

impl SiteRowBody {
    pub(super) fn encode(&self) -> Bytes {
        encode(SITE_VERSION, self)
    }

    pub(super) fn decode(bytes: &[u8]) -> Result<Self, RowError> {
        decode(SITE_VERSION, bytes)
    }
}

/// A hot row.
pub(super) fn encode_hot(chains: &StoredChains) -> Bytes {
    encode(HOT_VERSION, chains)
}

/// Reads a hot row.
pub(super) fn decode_hot(bytes: &[u8]) -> Result<StoredChains, RowError> {
    decode(HOT_VERSION, bytes)
}

fn encode(version: u8, value: &impl Serialize) -> Bytes {
    let mut bytes = vec![version];
    bytes.extend_from_slice(&pack(value, COMPRESSION_LEVEL));
    bytes.into()
}

fn decode<T: serde::de::DeserializeOwned>(version: u8, bytes: &[u8]) -> Result<T, RowError> {
    let plain = unpack(versioned(bytes, version)?)?;
    postcard::from_bytes(&plain).map_err(damaged)
}

#[derive(Serialize, Deserialize)]
pub(super) struct StoredSettings {
    revision: u64,
    zone: String,
    first_offset_ms: i64,
    transitions: Vec<(i64, i64)>,
    visit_timeout_ms: i64,
    goals: Vec<StoredGoal>,
    property_keys: Vec<String>,
    sketch_key: u64,
}

#[derive(Serialize, Deserialize)]
struct StoredGoal {
    id: u64,
    name: String,
    since: UnixMillis,
    is_page_pattern: bool,
    condition: String,
}

impl StoredSettings {
    pub(super) fn of(settings: &Settings) -> Self {
        let (first_offset_ms, transitions) = settings.zone.to_rows();
        let goals = settings.goals.iter().map(|goal| {
            let (is_page_pattern, condition) = match &goal.condition {
                Condition::EventName(name) => (false, name),
                Condition::PagePattern(pattern) => (true, pattern),
            };
            StoredGoal {
                id: goal.id,
                name: goal.name.clone(),
                since: goal.since,
                is_page_pattern,
                condition: condition.clone(),
            }
        });
        Self {
            revision: settings.revision,
            zone: settings.zone.name().to_owned(),
            first_offset_ms,
            transitions,
            visit_timeout_ms: settings.visit_timeout_ms,
            goals: goals.collect(),
            property_keys: settings
                .property_keys
                .iter()
                .map(|key| key.as_str().to_owned())
                .collect(),
            sketch_key: settings.sketch_key,
        }
    }

    pub(super) fn restore(self) -> Settings {
        let goals = self.goals.into_iter().map(|goal| Goal {
            id: goal.id,
            name: goal.name,
            since: goal.since,
            condition: match goal.is_page_pattern {
                true => Condition::PagePattern(goal.condition),
                false => Condition::EventName(goal.condition),
            },
        });
        Settings {
            revision: self.revision,
            zone: Zone::from_rows(self.zone, self.first_offset_ms, self.transitions),
            visit_timeout_ms: self.visit_timeout_ms,
            goals: goals.collect(),
            property_keys: self.property_keys.into_iter().map(Text::from).collect(),
            sketch_key: self.sketch_key,
        }
    }
}

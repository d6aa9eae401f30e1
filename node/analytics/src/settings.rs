//! What apply knows about a site by its settings command.

use ringtail_proto::{Text, UnixMillis, stored};

use crate::{Dimension, Zone, goal::Goal};

/// All settings of one site that apply reads.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// Commands with a lower revision are ignored.
    pub revision: u64,
    /// The site's zone; fixed once it has events.
    pub zone: Zone,
    /// A gap longer than this ends a visit.
    pub visit_timeout_ms: i64,
    /// Goals, evaluated when an event is applied.
    pub goals: Vec<Goal>,
    /// Property keys that have cells; the position is the slot of [`Dimension::Property`].
    pub property_keys: Vec<Text>,
    /// Key of the site's unique-visitor hashes.
    pub sketch_key: u64,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            revision: 0,
            zone: Zone::utc(),
            visit_timeout_ms: 30 * 60_000,
            goals: Vec::new(),
            property_keys: Vec::new(),
            sketch_key: 0,
        }
    }
}

impl Settings {
    /// Most goals that are evaluated.
    pub const GOALS_MAX: usize = 1_000;
    /// Limits of the visit timeout, in minutes.
    pub const VISIT_TIMEOUT_MINUTES: std::ops::RangeInclusive<u32> = 1..=240;

    /// Reads a settings command; values outside their limits are cut to them.
    #[must_use]
    pub fn from_command(command: &stored::SiteSettings) -> Self {
        let minutes = match command.visit_timeout_minutes {
            0 => 30,
            minutes => minutes.clamp(
                *Self::VISIT_TIMEOUT_MINUTES.start(),
                *Self::VISIT_TIMEOUT_MINUTES.end(),
            ),
        };
        let zone_name = String::from_utf8_lossy(&command.timezone).into_owned();
        Self {
            revision: command.revision,
            zone: Zone::from_settings(&zone_name, &command.transitions),
            visit_timeout_ms: i64::from(minutes) * 60_000,
            goals: command
                .goals
                .iter()
                .take(Self::GOALS_MAX)
                .filter_map(Goal::from_command)
                .collect(),
            property_keys: command
                .property_keys
                .iter()
                .take(usize::from(Dimension::PROPERTY_SLOTS))
                .map(|key| Text::from_bytes(key.clone()))
                .collect(),
            sketch_key: command.sketch_key,
        }
    }

    /// The slot of a property key.
    #[must_use]
    pub fn property_slot(&self, key: &[u8]) -> Option<u8> {
        self.property_keys
            .iter()
            .position(|known| known.to_bytes() == key)
            .map(|slot| slot as u8)
    }

    /// The goals that an event meets.
    pub(crate) fn goals_met<'a>(
        &'a self,
        name: &'a str,
        page: &'a str,
        time: UnixMillis,
    ) -> impl Iterator<Item = &'a Goal> {
        self.goals
            .iter()
            .filter(move |goal| goal.is_met(name, page, time))
    }
}

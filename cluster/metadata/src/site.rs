//! Sites, their options and goals.

use std::sync::Arc;

use ringtail_proto::{SiteId, UnixMillis};
use serde::{Deserialize, Serialize};

use crate::Domain;

/// One site: an immutable id under changing names.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Site {
    /// Assigned by the metadata group, never used again.
    pub id: SiteId,
    /// The name shown.
    pub domain: Domain,
    /// Other names under which its events come; former names stay here.
    pub aliases: Vec<Domain>,
    /// IANA name of its zone.
    pub timezone: Arc<str>,
    /// A paused site's events are dropped, with a reason.
    pub is_paused: bool,
    /// When it was added.
    pub created: UnixMillis,
    /// What its administrator may set.
    pub settings: SiteOptions,
    /// The newest revision of the settings that the partition's log is known to hold; 0 before the first.
    pub settled_revision: u64,
}

impl Site {
    /// True once the site's partition knows the site: events may follow.
    #[must_use]
    pub const fn is_settled(&self) -> bool {
        self.settled_revision > 0
    }

    /// True when the partition's log lacks the newest settings.
    #[must_use]
    pub const fn awaits_settings(&self) -> bool {
        self.settled_revision < self.settings.revision
    }

    /// All names under which the site is found.
    pub fn domains(&self) -> impl Iterator<Item = &Domain> {
        std::iter::once(&self.domain).chain(&self.aliases)
    }

    /// The goal with this id.
    #[must_use]
    pub fn goal(&self, goal: GoalId) -> Option<&Goal> {
        self.settings.goals.iter().find(|other| other.id == goal)
    }
}

/// What the administrator of a site may set, and what apply has to know.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SiteOptions {
    /// The gap between events that ends a visit, 1–240.
    pub visit_timeout_minutes: u16,
    /// Property keys that have cells, at most 16.
    pub property_keys: Vec<String>,
    /// Goals in the order of their creation.
    pub goals: Vec<Goal>,
    /// Query parameters kept beside the usual ones.
    pub allowed_query_parameters: Vec<String>,
    /// Hosts beside the site's domains whose pages may send events.
    pub allowed_origins: Vec<Domain>,
    /// Events from other origins are dropped.
    pub check_origin: bool,
    /// Events without consent are dropped.
    pub require_consent: bool,
    /// Events of browsers that ask not to be tracked are dropped.
    pub obey_do_not_track: bool,
    /// Key of the site's unique-visitor hashes.
    pub sketch_key: u64,
    /// Rises with each change; a partition takes only what is newer than it has.
    pub revision: u64,
}

impl SiteOptions {
    /// What a new site begins with.
    #[must_use]
    pub const fn new(sketch_key: u64) -> Self {
        Self {
            visit_timeout_minutes: 30,
            property_keys: Vec::new(),
            goals: Vec::new(),
            allowed_query_parameters: Vec::new(),
            allowed_origins: Vec::new(),
            check_origin: false,
            require_consent: false,
            obey_do_not_track: false,
            sketch_key,
            revision: 1,
        }
    }
}

/// A change of some options; what is none stays.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct OptionsChange {
    /// See [`SiteOptions::visit_timeout_minutes`].
    pub visit_timeout_minutes: Option<u16>,
    /// See [`SiteOptions::property_keys`].
    pub property_keys: Option<Vec<String>>,
    /// See [`SiteOptions::allowed_query_parameters`].
    pub allowed_query_parameters: Option<Vec<String>>,
    /// See [`SiteOptions::allowed_origins`].
    pub allowed_origins: Option<Vec<Domain>>,
    /// See [`SiteOptions::check_origin`].
    pub check_origin: Option<bool>,
    /// See [`SiteOptions::require_consent`].
    pub require_consent: Option<bool>,
    /// See [`SiteOptions::obey_do_not_track`].
    pub obey_do_not_track: Option<bool>,
}

impl OptionsChange {
    /// Sets what is not none; the caller raises the revision.
    pub(crate) fn apply_to(self, options: &mut SiteOptions) {
        fn set<T>(target: &mut T, value: Option<T>) {
            if let Some(value) = value {
                *target = value;
            }
        }
        set(
            &mut options.visit_timeout_minutes,
            self.visit_timeout_minutes,
        );
        set(&mut options.property_keys, self.property_keys);
        set(
            &mut options.allowed_query_parameters,
            self.allowed_query_parameters,
        );
        set(&mut options.allowed_origins, self.allowed_origins);
        set(&mut options.check_origin, self.check_origin);
        set(&mut options.require_consent, self.require_consent);
        set(&mut options.obey_do_not_track, self.obey_do_not_track);
    }
}

/// Id of a goal; never used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct GoalId(pub u64);

impl std::fmt::Display for GoalId {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(formatter)
    }
}

/// Something that visitors are wished to do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Goal {
    /// Its id.
    pub id: GoalId,
    /// The name shown; unique within the site.
    pub name: String,
    /// Goals count from their creation.
    pub since: UnixMillis,
    /// What reaches it.
    pub condition: GoalCondition,
}

/// What reaches a goal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum GoalCondition {
    /// An event of this name, exactly.
    EventName(String),
    /// A view of a page; `*` stands for a run without `/`, `**` for any run.
    PagePattern(String),
}

impl GoalCondition {
    /// The event name or the pattern.
    #[must_use]
    pub fn text(&self) -> &str {
        match self {
            Self::EventName(text) | Self::PagePattern(text) => text,
        }
    }
}

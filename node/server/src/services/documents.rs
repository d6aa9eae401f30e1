//! The JSON documents of sites, goals and keys.

use ringtail_metadata::{Goal, GoalCondition, Key, Site};
use ringtail_proto::UnixMillis;
use serde::{Serialize, Serializer};

/// A number that goes out as text, because JSON numbers end at 2^53.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Id(pub(crate) u64);

impl Serialize for Id {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0)
    }
}

/// An instant that goes out as RFC 3339.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Time(pub(crate) UnixMillis);

impl Serialize for Time {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&time_text(self.0))
    }
}

/// A site.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct SiteDocument {
    /// The immutable id.
    pub(crate) id: Id,
    pub(crate) domain: String,
    pub(crate) aliases: Vec<String>,
    pub(crate) timezone: String,
    pub(crate) paused: bool,
    pub(crate) created: Time,
    pub(crate) visit_timeout_minutes: u16,
    pub(crate) property_keys: Vec<String>,
}

impl From<&Site> for SiteDocument {
    fn from(site: &Site) -> Self {
        Self {
            id: Id(site.id.0),
            domain: site.domain.to_string(),
            aliases: site.aliases.iter().map(ToString::to_string).collect(),
            timezone: site.timezone.to_string(),
            paused: site.is_paused,
            created: Time(site.created),
            visit_timeout_minutes: site.settings.visit_timeout_minutes,
            property_keys: site.settings.property_keys.clone(),
        }
    }
}

/// A goal.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct GoalDocument {
    pub(crate) id: Id,
    pub(crate) name: String,
    /// Set for goals on an event name.
    pub(crate) event: Option<String>,
    /// Set for goals on a page pattern.
    pub(crate) page: Option<String>,
    pub(crate) since: Time,
}

impl From<&Goal> for GoalDocument {
    fn from(goal: &Goal) -> Self {
        let (event, page) = match &goal.condition {
            GoalCondition::EventName(name) => (Some(name.clone()), None),
            GoalCondition::PagePattern(pattern) => (None, Some(pattern.clone())),
        };
        Self {
            id: Id(goal.id.0),
            name: goal.name.clone(),
            event,
            page,
            since: Time(goal.since),
        }
    }
}

/// A key without its secret, which is stored nowhere.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct KeyDocument {
    pub(crate) id: Id,
    pub(crate) name: String,
    pub(crate) scope: &'static str,
    /// Domain of its site; none for all sites.
    pub(crate) site: Option<String>,
    pub(crate) created: Time,
    pub(crate) expires: Option<Time>,
    pub(crate) last_used: Option<Time>,
    pub(crate) revoked: bool,
}

impl KeyDocument {
    pub(crate) fn new(key: &Key, site: Option<&Site>) -> Self {
        Self {
            id: Id(key.id.0),
            name: key.name.clone(),
            scope: key.scope.name(),
            site: site.map(|site| site.domain.to_string()),
            created: Time(key.created),
            expires: key.expires.map(Time),
            last_used: key.last_used.map(Time),
            revoked: key.is_revoked,
        }
    }
}

/// RFC 3339 in UTC; the number itself when it is beyond the calendar.
pub(crate) fn time_text(time: UnixMillis) -> String {
    jiff::Timestamp::from_millisecond(time.0)
        .map_or_else(|_| time.to_string(), |timestamp| timestamp.to_string())
}

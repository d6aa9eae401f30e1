//! An event as the pipeline hands it on: parsed, enriched, and either accepted or dropped with its reason.

use std::{fmt, sync::Arc};

use serde::{Deserialize, Serialize};

use crate::{DropReason, EventId, Text, UnixMillis, VisitorId};

/// One event of one site, ready to be logged.
#[derive(Clone, Debug)]
pub struct Event {
    /// Never absent: an event that came without an id got one at the edge.
    pub id: EventId,
    /// The client's visitor id, hashed, or the hash under today's salt.
    pub visitor: VisitorId,
    /// The hash under yesterday's salt, so that a visit over midnight stays one.
    pub visitor_previous: Option<VisitorId>,
    /// The client's own id of a known user.
    pub user_id: Option<Text>,
    /// `pageview`, `engagement` or a custom name.
    pub name: Text,
    /// The client's time; none when it sent none.
    pub time: Option<UnixMillis>,
    /// Path of the page with the allowed query parameters.
    pub page: Text,
    /// Host of the page.
    pub hostname: Text,
    /// Shared by all events of the same user agent, screen and language.
    pub client: Arc<Client>,
    /// Shared by all events of the same place.
    pub place: Arc<Place>,
    /// Shared by all events that came the same way.
    pub acquisition: Arc<Acquisition>,
    /// Custom properties, at most 30.
    pub properties: Vec<(Text, Text)>,
    /// Money of this event.
    pub revenue: Option<Revenue>,
    /// Deepest scroll in percent, of engagement events.
    pub scroll_depth: Option<u8>,
    /// Engaged time, of engagement events.
    pub engaged_ms: u32,
    /// Facts that fit into bits.
    pub flags: EventFlags,
    /// The pipeline's reason for not counting an event that is kept for repair.
    pub dropped: Option<DropReason>,
}

/// Facts about an event that fit into bits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EventFlags(pub u32);

impl EventFlags {
    /// The event does not end a bounce.
    pub const NOT_INTERACTIVE: u32 = 1;

    /// True when the event ends a bounce.
    #[must_use]
    pub const fn is_interactive(self) -> bool {
        self.0 & Self::NOT_INTERACTIVE == 0
    }
}

/// What the visitor uses.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Client {
    /// Browser family.
    pub browser: Text,
    /// Browser version, major and minor.
    pub browser_version: Text,
    /// Operating system family.
    pub os: Text,
    /// Operating system version.
    pub os_version: Text,
    /// `Desktop`, `Mobile`, `Tablet`, …
    pub device: Text,
    /// Screen class.
    pub screen: Text,
    /// BCP 47 language.
    pub language: Text,
    /// The header as it came, kept so that rules can be replayed.
    pub raw_user_agent: Text,
}

/// Where the visitor is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Place {
    /// ISO 3166-1 alpha-2.
    pub country: Text,
    /// ISO 3166-2.
    pub region: Text,
    /// Name of the city.
    pub city: Text,
}

/// How the visitor came.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Acquisition {
    /// Referring page without query, or empty.
    pub referrer: Text,
    /// Name of the source.
    pub source: Text,
    /// Channel by GA4's default rules, plus AI assistants.
    pub channel: Text,
    /// `utm_source`.
    pub utm_source: Text,
    /// `utm_medium`.
    pub utm_medium: Text,
    /// `utm_campaign`.
    pub utm_campaign: Text,
    /// `utm_content`.
    pub utm_content: Text,
    /// `utm_term`.
    pub utm_term: Text,
    /// The header as it came, kept so that rules can be replayed.
    pub raw_referrer: Text,
}

/// Money of one event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Revenue {
    /// Millionths of the currency unit.
    pub amount_micros: i64,
    /// ISO 4217.
    pub currency: CurrencyCode,
}

/// ISO 4217 code: three upper-case ASCII letters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct CurrencyCode([u8; 3]);

impl CurrencyCode {
    /// Takes three ASCII letters of either case.
    #[must_use]
    pub fn parse(text: &[u8]) -> Option<Self> {
        let letters: [u8; 3] = text.try_into().ok()?;
        letters
            .iter()
            .all(u8::is_ascii_alphabetic)
            .then(|| Self(letters.map(|letter| letter.to_ascii_uppercase())))
    }

    /// The code.
    #[must_use]
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).expect("three ASCII letters are UTF-8")
    }

    /// The letters.
    #[must_use]
    pub const fn bytes(&self) -> &[u8; 3] {
        &self.0
    }
}

impl fmt::Display for CurrencyCode {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

//! What a dialect understood of one event, before anything is decided about it.

use std::{borrow::Cow, net::IpAddr};

use ringtail_proto::{EventId, Revenue, UnixMillis};

/// One event as it was sent: typed, but neither limited, cleaned nor enriched. Borrows from the request where it can.
#[derive(Clone, Debug)]
pub struct Hit<'a> {
    /// The domain that the sender named.
    pub domain: &'a str,
    /// The sender's id of the event.
    pub id: Option<EventId>,
    /// `pageview`, `engagement` or a custom name.
    pub name: Cow<'a, str>,
    /// Address of the page.
    pub url: Cow<'a, str>,
    /// Where the visitor came from.
    pub referrer: Cow<'a, str>,
    /// The sender's time.
    pub time: Option<UnixMillis>,
    /// The sender's id of the visitor; only from trusted senders.
    pub visitor: Option<Cow<'a, str>>,
    /// The sender's id of a known user.
    pub user_id: Option<Cow<'a, str>>,
    /// The visitor's user agent; empty when there is none.
    pub user_agent: Cow<'a, str>,
    /// The visitor's address.
    pub address: Option<IpAddr>,
    /// The visitor's language, or an `Accept-Language` header.
    pub language: Cow<'a, str>,
    /// Width of the screen in CSS pixels; 0 when unknown.
    pub screen_width: u32,
    /// Custom properties.
    pub properties: Vec<(Cow<'a, str>, Cow<'a, str>)>,
    /// Money of this event.
    pub revenue: Option<Revenue>,
    /// Deepest scroll in percent.
    pub scroll_depth: Option<u8>,
    /// Engaged time.
    pub engaged_ms: u32,
    /// False for events that do not end a bounce.
    pub is_interactive: bool,
    /// Pages are told apart by what follows `#`, too.
    pub is_hash_routed: bool,
    /// The `Origin` header; empty when there is none.
    pub origin: &'a str,
    /// What the visitor wishes.
    pub signals: Signals,
    /// False where the sender says what is a robot, or where no user agent was recorded.
    pub is_tested_for_bots: bool,
}

/// What the visitor wishes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Signals {
    /// `DNT: 1` or `Sec-GPC: 1`.
    pub do_not_track: bool,
    /// Consent given or refused; none when nobody asked.
    pub consent: Option<bool>,
}

impl<'a> Hit<'a> {
    /// A page view with nothing but its site and address.
    #[must_use]
    pub fn new(domain: &'a str, url: impl Into<Cow<'a, str>>) -> Self {
        Self {
            domain,
            id: None,
            name: Cow::Borrowed("pageview"),
            url: url.into(),
            referrer: Cow::Borrowed(""),
            time: None,
            visitor: None,
            user_id: None,
            user_agent: Cow::Borrowed(""),
            address: None,
            language: Cow::Borrowed(""),
            screen_width: 0,
            properties: Vec::new(),
            revenue: None,
            scroll_depth: None,
            engaged_ms: 0,
            is_interactive: true,
            is_hash_routed: false,
            origin: "",
            signals: Signals::default(),
            is_tested_for_bots: true,
        }
    }
}

//! `GET /pixel.gif`: a page view without script.

use std::borrow::Cow;

use crate::{Envelope, Hit, Signals};

/// A transparent image of one pixel, 43 bytes.
pub const PIXEL: &[u8; 43] = b"GIF89a\x01\x00\x01\x00\x80\x00\x00\x00\x00\x00\xff\xff\xff!\xf9\x04\x01\x00\x00\x00\x00,\x00\x00\x00\x00\x01\x00\x01\x00\x00\x02\x02D\x01\x00;";

/// Parameters looked at; a page's address may bring more.
const PARAMETERS_MAX: usize = 64;

/// What the query says.
pub(crate) struct Query<'a> {
    pub(crate) domain: Cow<'a, str>,
    url: Cow<'a, str>,
    referrer: Cow<'a, str>,
    name: Cow<'a, str>,
    consent: Option<bool>,
    width: u32,
}

impl<'a> Query<'a> {
    /// Reads `d` domain, `u` address of the page, `r` its referrer, `n` name of the event, `w` width of the screen,
    /// `c` consent. Parameters that we do not know break caches or belong to others.
    pub(crate) fn parse(query: &'a str, envelope: &Envelope<'a>) -> Self {
        let mut parsed = Self {
            domain: Cow::Borrowed(""),
            url: Cow::Borrowed(envelope.referer),
            referrer: Cow::Borrowed(""),
            name: Cow::Borrowed("pageview"),
            consent: None,
            width: 0,
        };
        for (name, value) in url::form_urlencoded::parse(query.as_bytes()).take(PARAMETERS_MAX) {
            match name.as_ref() {
                _ if value.is_empty() => {}
                "d" | "domain" => parsed.domain = value,
                "u" | "url" => parsed.url = value,
                "r" | "referrer" => parsed.referrer = value,
                "n" | "name" => parsed.name = value,
                "c" | "consent" => parsed.consent = Some(matches!(value.as_ref(), "1" | "true")),
                "w" => parsed.width = value.parse().unwrap_or_default(),
                _ => {}
            }
        }
        // `u=/path` is enough where the mail or page knows no more.
        if parsed.url.starts_with('/') {
            parsed.url = Cow::Owned(format!("https://{}{}", parsed.domain.trim(), parsed.url));
        }
        parsed
    }

    pub(crate) fn hit<'b>(&'b self, envelope: &Envelope<'b>) -> Hit<'b> {
        Hit {
            name: Cow::Borrowed(&self.name),
            referrer: Cow::Borrowed(&self.referrer),
            user_agent: Cow::Borrowed(envelope.user_agent),
            language: Cow::Borrowed(envelope.accept_language),
            screen_width: self.width,
            origin: envelope.origin,
            signals: Signals {
                consent: self.consent,
                ..envelope.signals
            },
            ..Hit::new(self.domain.trim(), Cow::Borrowed(self.url.as_ref()))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_is_the_one_named_or_the_one_that_shows_the_pixel() {
        let check = |query: &str, referer: &str, expect: [&str; 4]| {
            let envelope = Envelope {
                referer,
                ..Envelope::default()
            };
            let query = Query::parse(query, &envelope);
            let hit = query.hit(&envelope);
            assert_eq!([hit.domain, &hit.url, &hit.referrer, &hit.name], expect);
        };
        check(
            "d=a.b&u=https%3A%2F%2Fa.b%2Fx%3Fy%3D1&r=https://t.co/&n=Open",
            "",
            ["a.b", "https://a.b/x?y=1", "https://t.co/", "Open"],
        );
        check(
            "d=a.b",
            "https://a.b/page",
            ["a.b", "https://a.b/page", "", "pageview"],
        );
        check(
            "d=a.b&u=/mail/7",
            "",
            ["a.b", "https://a.b/mail/7", "", "pageview"],
        );
        check(
            "d=a.b&u=&n=",
            "https://a.b/page",
            ["a.b", "https://a.b/page", "", "pageview"],
        );
        check("", "", ["", "", "", "pageview"]);
        check("%FF%FE=1&&&=&d=%C3", "", ["\u{fffd}", "", "", "pageview"]);
    }
}

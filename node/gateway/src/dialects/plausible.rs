//! `POST /api/event`: Plausible's shape, one event for one or more sites.

use std::borrow::Cow;

use ringtail_proto::EventId;
use serde::Deserialize;
use serde_json::{Value, json};

use super::fields::{JsonFlag, JsonNumber, JsonProperties, JsonRevenue, JsonText};
use crate::{
    CollectError, Envelope, Hit, Signals,
    enricher::sent_id,
    steps::limits::{
        NAME_CHARS_MAX, PROPERTIES_MAX, PROPERTY_KEY_CHARS_MAX, PROPERTY_VALUE_CHARS_MAX,
        URL_CHARS_MAX, is_longer,
    },
};

/// Sites that one event may name.
const DOMAINS_MAX: usize = 10;

/// What became of the event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PlausibleAnswer {
    /// Sites at which the event was dropped; for the header `x-plausible-dropped`.
    pub dropped: u32,
}

/// The body, under its long and its short names.
#[derive(Deserialize)]
pub(crate) struct Body<'a> {
    #[serde(borrow, default, alias = "d")]
    domain: JsonText<'a>,
    #[serde(borrow, default, alias = "n")]
    name: JsonText<'a>,
    #[serde(borrow, default, alias = "u")]
    url: JsonText<'a>,
    #[serde(borrow, default, alias = "r")]
    referrer: JsonText<'a>,
    #[serde(borrow, default, alias = "p", alias = "m", alias = "meta")]
    props: JsonProperties<'a>,
    #[serde(default, alias = "$")]
    revenue: JsonRevenue,
    #[serde(default, alias = "i")]
    interactive: JsonFlag,
    #[serde(default, rename = "hashMode", alias = "h")]
    hash_mode: JsonFlag,
    #[serde(default)]
    sd: JsonNumber,
    #[serde(default)]
    e: JsonNumber,
    /// Ours: the event's id, so that a repeated beacon counts once.
    #[serde(borrow, default)]
    id: JsonText<'a>,
    /// Ours: width of the screen.
    #[serde(default)]
    w: JsonNumber,
    /// Ours: language of the browser.
    #[serde(borrow, default)]
    l: JsonText<'a>,
    /// Ours: whether the visitor consented.
    #[serde(default)]
    consent: JsonFlag,
}

impl<'a> Body<'a> {
    pub(crate) fn parse(body: &'a str) -> Result<Self, CollectError> {
        serde_json::from_str(body)
            .map_err(|error| CollectError::malformed("body", error.to_string()))
    }

    /// The sites that the event names.
    pub(crate) fn domains(&self) -> Result<Vec<&str>, CollectError> {
        let domains: Vec<&str> = self
            .domain
            .0
            .split(',')
            .map(str::trim)
            .filter(|domain| !domain.is_empty())
            .collect();
        match domains.len() {
            0 => Err(CollectError::malformed("domain", "is required")),
            1..=DOMAINS_MAX => Ok(domains),
            _ => Err(CollectError::malformed(
                "domain",
                format!("names more than {DOMAINS_MAX} sites"),
            )),
        }
    }

    /// The event, for one site at a time: the caller sets the domain.
    pub(crate) fn hit<'b>(&'b self, envelope: &Envelope<'b>) -> Result<Hit<'b>, CollectError> {
        self.check()?;
        let id =
            parse_id(&self.id.0).ok_or_else(|| CollectError::malformed("id", "is not a UUID"))?;
        let signals = Signals {
            consent: self.consent.0,
            ..envelope.signals
        };
        let language = match self.l.0.as_ref() {
            "" => envelope.accept_language,
            language => language,
        };
        let borrow = |text: &'b JsonText<'a>| Cow::Borrowed(text.0.as_ref());
        Ok(Hit {
            id,
            name: borrow(&self.name),
            referrer: borrow(&self.referrer),
            user_agent: Cow::Borrowed(envelope.user_agent),
            language: Cow::Borrowed(language),
            screen_width: self.w.0.unwrap_or_default(),
            properties: self.borrowed_properties(),
            revenue: self.revenue.0,
            // Plausible's tracker says 255 where it does not know.
            scroll_depth: self
                .sd
                .0
                .filter(|depth| *depth <= 100)
                .and_then(|depth| u8::try_from(depth).ok()),
            engaged_ms: self.e.0.unwrap_or_default(),
            is_interactive: self.interactive.0.unwrap_or(true),
            is_hash_routed: self.hash_mode.0.unwrap_or(false),
            origin: envelope.origin,
            signals,
            ..Hit::new("", borrow(&self.url))
        })
    }

    fn borrowed_properties(&self) -> Vec<(Cow<'_, str>, Cow<'_, str>)> {
        self.props
            .0
            .iter()
            .map(|(key, value)| (Cow::Borrowed(key.as_ref()), Cow::Borrowed(value.as_ref())))
            .collect()
    }

    /// What a client can put right is refused by name, as Plausible does.
    fn check(&self) -> Result<(), CollectError> {
        let required = |field: &'static str, text: &str, chars_max: usize| {
            if text.trim().is_empty() {
                return Err(CollectError::malformed(field, "is required"));
            }
            if is_longer(text, chars_max) {
                return Err(CollectError::malformed(
                    field,
                    format!("is longer than {chars_max} characters"),
                ));
            }
            Ok(())
        };
        required("name", &self.name.0, NAME_CHARS_MAX)?;
        required("url", &self.url.0, URL_CHARS_MAX)?;
        if self.props.0.len() > PROPERTIES_MAX {
            return Err(CollectError::malformed(
                "props",
                format!("are more than {PROPERTIES_MAX}"),
            ));
        }
        let is_too_long = |(key, value): &(Cow<'_, str>, Cow<'_, str>)| {
            is_longer(key, PROPERTY_KEY_CHARS_MAX) || is_longer(value, PROPERTY_VALUE_CHARS_MAX)
        };
        if self.props.0.iter().any(is_too_long) {
            let message = format!(
                "a key is longer than {PROPERTY_KEY_CHARS_MAX} or a value longer than {PROPERTY_VALUE_CHARS_MAX} characters"
            );
            return Err(CollectError::malformed("props", message));
        }
        Ok(())
    }
}

/// A sent id; `Some(None)` when there is none, `None` when it is not one.
pub(crate) fn parse_id(text: &str) -> Option<Option<EventId>> {
    if text.is_empty() {
        return Some(None);
    }
    let uuid = uuid::Uuid::try_parse(text).ok()?;
    Some(sent_id(EventId(uuid.as_u128())))
}

/// Plausible's body of a 400.
pub(crate) fn error_body(error: &CollectError) -> Value {
    match error {
        CollectError::Malformed { field, message } => json!({"errors": {*field: [message]}}),
        other => json!({"errors": {"request": [other.to_string()]}}),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_and_short_names_mean_the_same() {
        let long = r#"{"domain":"example.com","name":"Buy","url":"https://example.com/","referrer":"https://t.co/",
            "props":{"size":"XL"},"revenue":{"currency":"EUR","amount":"12.50"},"interactive":false,"hashMode":1}"#;
        let short = r#"{"d":"example.com","n":"Buy","u":"https://example.com/","r":"https://t.co/",
            "p":{"size":"XL"},"$":{"currency":"EUR","amount":12.5},"i":false,"h":1,"v":24}"#;
        let envelope = Envelope::default();
        let bodies = [long, short].map(|text| Body::parse(text).unwrap());
        let [first, second] =
            [&bodies[0], &bodies[1]].map(|body| format!("{:?}", body.hit(&envelope).unwrap()));
        assert_eq!(first, second);
        assert!(first.contains("12500000") && first.contains("is_hash_routed: true"));
    }

    #[test]
    fn what_is_wrong_is_named() {
        let check = |body: &str, expect: &str| {
            let result = Body::parse(body).and_then(|body| {
                body.domains()?;
                body.hit(&Envelope::default()).map(drop)
            });
            let message = result.unwrap_err().to_string();
            assert!(message.starts_with(expect), "{body}: {message}");
        };
        let url = "\"u\":\"https://example.com/\"";
        check("", "body: EOF");
        check("[1]", "body: ");
        check("{", "body: EOF");
        check(
            r#"{"d":1}"#,
            "body: invalid type: integer `1`, expected a text",
        );
        check(&format!(r#"{{"n":"a",{url}}}"#), "domain: is required");
        check(
            &format!(r#"{{"d":" , ","n":"a",{url}}}"#),
            "domain: is required",
        );
        check(
            &format!(r#"{{"d":"{}","n":"a",{url}}}"#, "a.b,".repeat(11)),
            "domain: names more than 10",
        );
        check(&format!(r#"{{"d":"a.b",{url}}}"#), "name: is required");
        check(
            &format!(r#"{{"d":"a.b","n":"{}",{url}}}"#, "n".repeat(121)),
            "name: is longer than 120",
        );
        check(r#"{"d":"a.b","n":"a"}"#, "url: is required");
        check(
            &format!(
                r#"{{"d":"a.b","n":"a","u":"https://a.b/{}"}}"#,
                "x".repeat(2_000)
            ),
            "url: is longer than 2000",
        );
        check(
            &format!(r#"{{"d":"a.b","n":"a",{url},"id":"7"}}"#),
            "id: is not a UUID",
        );
        check(
            &format!(r#"{{"d":"a.b","n":"a",{url},"sd":-1}}"#),
            "body: invalid value",
        );
        check(
            &format!(r#"{{"d":"a.b","n":"a",{url},"p":{{"k":[]}}}}"#),
            "body: invalid type: sequence",
        );
        let many: Vec<String> = (0..31).map(|number| format!("\"k{number}\":1")).collect();
        check(
            &format!(r#"{{"d":"a.b","n":"a",{url},"p":{{{}}}}}"#, many.join(",")),
            "props: are more than 30",
        );
        check(
            &format!(
                r#"{{"d":"a.b","n":"a",{url},"p":{{"k":"{}"}}}}"#,
                "v".repeat(2_001)
            ),
            "props: a key is longer",
        );
        check(
            &format!(r#"{{"d":"a.b","n":"a",{url},"$":{{"amount":"x","currency":"EUR"}}}}"#),
            "body: the amount",
        );
    }

    #[test]
    fn an_engagement_carries_depth_and_time() {
        let body = r#"{"d":"a.b","n":"engagement","u":"https://a.b/","sd":63,"e":4200,"w":390,"l":"de","id":"123e4567-e89b-12d3-a456-426614174000"}"#;
        let body = Body::parse(body).unwrap();
        let hit = body.hit(&Envelope::default()).unwrap();
        assert_eq!(
            (hit.scroll_depth, hit.engaged_ms, hit.screen_width),
            (Some(63), 4_200, 390)
        );
        assert_eq!(
            hit.id.unwrap().to_string(),
            "123e4567-e89b-12d3-a456-426614174000"
        );
        let unknown =
            Body::parse(r#"{"d":"a.b","n":"engagement","u":"https://a.b/","sd":255}"#).unwrap();
        assert_eq!(
            unknown.hit(&Envelope::default()).unwrap().scroll_depth,
            None
        );
    }
}

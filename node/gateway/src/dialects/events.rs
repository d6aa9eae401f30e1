//! `POST /api/v1/events`: our own shape, a batch of events of one site.

use std::borrow::Cow;

use jiff::Timestamp;
use ringtail_proto::{DropReason, UnixMillis, Verdict};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::{
    fields::{JsonFlag, JsonNumber, JsonProperties, JsonRevenue, JsonText},
    plausible::parse_id,
};
use crate::{CollectError, Envelope, Hit, Signals, address::parse_address};

/// What became of a batch: each event is in exactly one of the four counts.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct EventsAnswer {
    /// Counted, visible in the next query.
    pub accepted: u32,
    /// Counted before under the same id.
    pub duplicate: u32,
    /// Counted, and waiting to be merged into hours already folded; or durable, and waiting to be counted.
    pub pending: u32,
    /// True when the partition has no quorum, so that nobody knows each event's verdict yet.
    #[serde(skip)]
    pub is_waiting: bool,
    /// Not counted, by position in the request.
    pub dropped: Vec<DroppedEvent>,
    /// Not counted, by reason.
    pub dropped_by_reason: std::collections::BTreeMap<&'static str, u32>,
}

/// One event that was not counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct DroppedEvent {
    /// Position in the request, from 0.
    pub position: u32,
    /// The name of the reason.
    pub reason: &'static str,
}

impl EventsAnswer {
    pub(crate) fn add_drop(&mut self, position: u32, reason: DropReason) {
        let reason = reason.name();
        self.dropped.push(DroppedEvent { position, reason });
        *self.dropped_by_reason.entry(reason).or_default() += 1;
    }

    pub(crate) fn add(&mut self, position: u32, verdict: Verdict) {
        match verdict {
            Verdict::Accepted => self.accepted += 1,
            Verdict::Late => self.pending += 1,
            Verdict::Duplicate => self.duplicate += 1,
            Verdict::Dropped(reason) => self.add_drop(position, reason),
        }
    }
}

/// The request. Its events are read one by one, so that a wrong one spoils no other.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Body<'a> {
    #[serde(borrow)]
    pub(crate) site: JsonText<'a>,
    #[serde(borrow)]
    pub(crate) events: Vec<&'a RawValue>,
}

impl<'a> Body<'a> {
    pub(crate) fn parse(body: &'a str) -> Result<Self, CollectError> {
        serde_json::from_str(body)
            .map_err(|error| CollectError::malformed("body", error.to_string()))
    }
}

/// One event of the request.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct BodyEvent<'a> {
    #[serde(borrow, default)]
    id: JsonText<'a>,
    #[serde(borrow, default)]
    name: JsonText<'a>,
    #[serde(borrow, default)]
    url: JsonText<'a>,
    #[serde(borrow, default)]
    time: JsonText<'a>,
    #[serde(borrow, default)]
    visitor: JsonText<'a>,
    #[serde(borrow, default)]
    user_id: JsonText<'a>,
    #[serde(borrow, default)]
    referrer: JsonText<'a>,
    #[serde(borrow, default)]
    user_agent: JsonText<'a>,
    #[serde(borrow, default)]
    ip: JsonText<'a>,
    #[serde(borrow, default)]
    props: JsonProperties<'a>,
    #[serde(default)]
    revenue: JsonRevenue,
    #[serde(default)]
    interactive: JsonFlag,
    #[serde(default)]
    scroll_depth: JsonNumber,
    #[serde(default)]
    engaged_ms: JsonNumber,
    #[serde(default)]
    screen_width: JsonNumber,
    #[serde(borrow, default)]
    language: JsonText<'a>,
    #[serde(default)]
    consent: JsonFlag,
}

impl<'a> BodyEvent<'a> {
    pub(crate) fn parse(json: &'a RawValue) -> Result<Self, DropReason> {
        serde_json::from_str(json.get()).map_err(|_| DropReason::Malformed)
    }

    pub(crate) fn into_hit(
        self,
        domain: &'a str,
        sender: &Sender<'a>,
    ) -> Result<Hit<'a>, DropReason> {
        let text = |text: JsonText<'a>| (!text.0.is_empty()).then_some(text.0);
        let claims = Claims {
            visitor: text(self.visitor),
            user_agent: self.user_agent.0,
            ip: &self.ip.0,
        };
        let mut hit = Hit {
            id: parse_id(&self.id.0).ok_or(DropReason::Malformed)?,
            name: self.name.0,
            referrer: self.referrer.0,
            time: text(self.time).map(|time| parse_time(&time)).transpose()?,
            user_id: text(self.user_id),
            language: match self.language.0.is_empty() {
                true => Cow::Borrowed(sender.envelope.accept_language),
                false => self.language.0,
            },
            screen_width: self.screen_width.0.unwrap_or_default(),
            properties: self.props.0,
            revenue: self.revenue.0,
            scroll_depth: self.scroll_depth.0.map(|depth| depth.min(100) as u8),
            engaged_ms: self.engaged_ms.0.unwrap_or_default(),
            is_interactive: self.interactive.0.unwrap_or(true),
            signals: Signals {
                consent: self.consent.0,
                ..sender.envelope.signals
            },
            ..Hit::new(domain, self.url.0)
        };
        sender.attribute(&mut hit, claims)?;
        Ok(hit)
    }
}

/// RFC 3339.
fn parse_time(text: &str) -> Result<UnixMillis, DropReason> {
    let time: Timestamp = text.parse().map_err(|_| DropReason::Malformed)?;
    Ok(UnixMillis(time.as_millisecond()))
}

/// Who sends a batch: a browser, or a server that we trust because it has a write key.
#[derive(Clone, Copy)]
pub(crate) struct Sender<'a> {
    pub(crate) envelope: &'a Envelope<'a>,
    pub(crate) address: std::net::IpAddr,
    pub(crate) is_trusted: bool,
}

/// What an event says about its visitor; honoured from trusted senders only.
pub(crate) struct Claims<'a, 'i> {
    pub(crate) visitor: Option<Cow<'a, str>>,
    pub(crate) user_agent: Cow<'a, str>,
    pub(crate) ip: &'i str,
}

impl<'a> Sender<'a> {
    /// Says whose event it is.
    ///
    /// A server that names the visitor but no user agent knows that it is no robot, and its own address is nobody's.
    pub(crate) fn attribute(
        &self,
        hit: &mut Hit<'a>,
        claims: Claims<'a, '_>,
    ) -> Result<(), DropReason> {
        if !self.is_trusted {
            hit.address = Some(self.address);
            hit.user_agent = Cow::Borrowed(self.envelope.user_agent);
            hit.origin = self.envelope.origin;
            return Ok(());
        }
        let names_visitor = claims.visitor.is_some();
        hit.address = match claims.ip {
            "" => (!names_visitor).then_some(self.address),
            ip => Some(parse_address(ip).ok_or(DropReason::Malformed)?),
        };
        hit.is_tested_for_bots = !(names_visitor && claims.user_agent.is_empty());
        hit.user_agent = match claims.user_agent.is_empty() && !names_visitor {
            true => Cow::Borrowed(self.envelope.user_agent),
            false => claims.user_agent,
        };
        hit.visitor = claims.visitor;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FULL: &str = r#"{"id":"123e4567-e89b-12d3-a456-426614174000","name":"pageview","url":"https://example.com/","time":"2026-11-21T12:00:00+01:00",
        "visitor":"v","referrer":null,"user_agent":"UA","ip":"8.8.8.8","props":{"a":1},"revenue":{"amount":"12.50","currency":"EUR"}}"#;

    fn hit<'a>(
        json: &'a str,
        envelope: &'a Envelope<'a>,
        is_trusted: bool,
    ) -> Result<Hit<'a>, DropReason> {
        let raw: &RawValue = serde_json::from_str(json).unwrap();
        let sender = Sender {
            envelope,
            address: "192.0.2.1".parse().unwrap(),
            is_trusted,
        };
        BodyEvent::parse(raw)?.into_hit("example.com", &sender)
    }

    #[test]
    fn visitor_agent_and_address_are_honoured_only_with_a_key() {
        let envelope = Envelope {
            user_agent: "Header",
            ..Envelope::default()
        };
        let trusted = hit(FULL, &envelope, true).unwrap();
        assert_eq!(
            (trusted.visitor.as_deref(), trusted.user_agent.as_ref()),
            (Some("v"), "UA")
        );
        assert_eq!(trusted.address.unwrap().to_string(), "8.8.8.8");
        assert_eq!(trusted.time, Some(UnixMillis(1_795_258_800_000)));
        let open = hit(FULL, &envelope, false).unwrap();
        assert_eq!((open.visitor, open.user_agent.as_ref()), (None, "Header"));
        assert_eq!(open.address.unwrap().to_string(), "192.0.2.1");
    }

    #[test]
    fn a_server_that_names_its_visitor_needs_no_user_agent() {
        let envelope = Envelope {
            user_agent: "python-requests/2.31",
            ..Envelope::default()
        };
        let named = hit(
            r#"{"name":"a","url":"https://a.b/","visitor":"v"}"#,
            &envelope,
            true,
        )
        .unwrap();
        assert!(
            !named.is_tested_for_bots && named.user_agent.is_empty() && named.address.is_none()
        );
        let unnamed = hit(r#"{"name":"a","url":"https://a.b/"}"#, &envelope, true).unwrap();
        assert!(unnamed.is_tested_for_bots && unnamed.user_agent == "python-requests/2.31");
    }

    #[test]
    fn a_wrong_event_is_malformed() {
        let envelope = Envelope::default();
        for json in [
            "1",
            "null",
            r#"{"name":1}"#,
            r#"{"unknown":1}"#,
            r#"{"time":"yesterday"}"#,
            r#"{"time":"99999-01-01T00:00:00Z"}"#,
            r#"{"id":"x"}"#,
            r#"{"ip":"300.1.1.1"}"#,
            r#"{"props":[]}"#,
            r#"{"revenue":{"amount":"1"}}"#,
        ] {
            assert_eq!(
                hit(json, &envelope, true).map(drop),
                Err(DropReason::Malformed),
                "{json}"
            );
        }
    }

    #[test]
    fn each_event_is_in_exactly_one_count() {
        let mut answer = EventsAnswer::default();
        answer.add(0, Verdict::Accepted);
        answer.add(1, Verdict::Late);
        answer.add(2, Verdict::Duplicate);
        answer.add(3, Verdict::Dropped(DropReason::TooLate));
        answer.add_drop(4, DropReason::Bot);
        let shown = serde_json::to_string(&answer).unwrap();
        assert_eq!(
            shown,
            r#"{"accepted":1,"duplicate":1,"pending":1,"dropped":[{"position":3,"reason":"too_late"},{"position":4,"reason":"bot"}],"dropped_by_reason":{"bot":1,"too_late":1}}"#
        );
    }
}

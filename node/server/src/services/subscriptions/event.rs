//! A stored event as subscribers get it.

use bytes::Bytes;
use ringtail_history::FedSlice;
use ringtail_proto::{
    Verdict,
    stored::{Acquisition, Client, EventBatch, Place, Revenue, StoredEvent},
    wire::v1,
};

/// The event at a place of a slice; none when the slice has no such place.
pub(super) fn subscribed(
    domain: &str,
    slice: &FedSlice,
    place: usize,
) -> Option<v1::SubscribedEvent> {
    let batch = &*slice.batch;
    let event = slice.events()?.events.get(place)?;
    let (verdict, drop_reason) = words(*slice.codes.get(place)?);
    let received_unix_ms = slice.entry.stamp.0;
    let client = batch.clients.get(event.client as usize);
    let from = batch.places.get(event.place as usize);
    let acquisition = batch.acquisitions.get(event.acquisition as usize);
    let user_id = event.user_id_plus_one.checked_sub(1);
    let mut subscribed = v1::SubscribedEvent {
        site: domain.to_owned(),
        id: [event.id_high.to_be_bytes(), event.id_low.to_be_bytes()].concat(),
        verdict: verdict.to_owned(),
        drop_reason: drop_reason.to_owned(),
        time_unix_ms: match event.time_ms {
            0 => received_unix_ms,
            time => time,
        },
        received_unix_ms,
        name: text(batch, event.name),
        visitor: event.visitor,
        user_id: user_id.map(|at| text(batch, at)).unwrap_or_default(),
        page: text(batch, event.page),
        hostname: text(batch, event.hostname),
        interactive: event.flags & ringtail_proto::EventFlags::NOT_INTERACTIVE == 0,
        scroll_depth: event.scroll_depth_plus_one.checked_sub(1),
        engaged_ms: event.engaged_ms,
        props: properties(batch, event),
        revenue: event.revenue.as_ref().map(revenue),
        ..v1::SubscribedEvent::default()
    };
    if let Some(client) = client {
        subscribed = with_client(subscribed, client);
    }
    if let Some(place) = from {
        subscribed = with_place(subscribed, place);
    }
    if let Some(acquisition) = acquisition {
        subscribed = with_acquisition(subscribed, acquisition);
    }
    Some(subscribed)
}

/// True for what reports count.
pub(super) fn is_counted(code: u8) -> bool {
    let verdict = Verdict::from_code(code);
    matches!(verdict, Some(Verdict::Accepted | Verdict::Late))
}

fn words(code: u8) -> (&'static str, &'static str) {
    match Verdict::from_code(code) {
        Some(Verdict::Accepted) => ("accepted", ""),
        Some(Verdict::Late) => ("late", ""),
        Some(Verdict::Duplicate) => ("duplicate", ""),
        Some(Verdict::Dropped(reason)) => ("dropped", reason.name()),
        None => ("unknown", ""),
    }
}

fn text(batch: &EventBatch, at: u32) -> String {
    batch.texts.get(at as usize).map(plain).unwrap_or_default()
}

fn plain(bytes: &Bytes) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn properties(
    batch: &EventBatch,
    event: &StoredEvent,
) -> std::collections::HashMap<String, String> {
    let properties = event.properties.iter();
    properties
        .map(|property| (text(batch, property.key), text(batch, property.value)))
        .collect()
}

fn with_client(event: v1::SubscribedEvent, client: &Client) -> v1::SubscribedEvent {
    v1::SubscribedEvent {
        browser: plain(&client.browser),
        browser_version: plain(&client.browser_version),
        os: plain(&client.os),
        os_version: plain(&client.os_version),
        device: plain(&client.device),
        screen: plain(&client.screen),
        language: plain(&client.language),
        ..event
    }
}

fn with_place(event: v1::SubscribedEvent, place: &Place) -> v1::SubscribedEvent {
    v1::SubscribedEvent {
        country: plain(&place.country),
        region: plain(&place.region),
        city: plain(&place.city),
        ..event
    }
}

fn with_acquisition(event: v1::SubscribedEvent, came: &Acquisition) -> v1::SubscribedEvent {
    v1::SubscribedEvent {
        referrer: plain(&came.referrer),
        source: plain(&came.source),
        channel: plain(&came.channel),
        utm_source: plain(&came.utm_source),
        utm_medium: plain(&came.utm_medium),
        utm_campaign: plain(&came.utm_campaign),
        utm_content: plain(&came.utm_content),
        utm_term: plain(&came.utm_term),
        ..event
    }
}

fn revenue(revenue: &Revenue) -> v1::Revenue {
    v1::Revenue {
        amount: amount(revenue.amount_micros),
        currency: plain(&revenue.currency),
    }
}

/// Millionths as a decimal number without superfluous digits.
fn amount(micros: i64) -> String {
    let sign = if micros < 0 { "-" } else { "" };
    let (whole, rest) = (
        micros.unsigned_abs() / 1_000_000,
        micros.unsigned_abs() % 1_000_000,
    );
    let decimals = format!("{rest:06}");
    match decimals.trim_end_matches('0') {
        "" => format!("{sign}{whole}"),
        decimals => format!("{sign}{whole}.{decimals}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_decimal_numbers() {
        for (micros, expect) in [
            (0, "0"),
            (12_500_000, "12.5"),
            (-1, "-0.000001"),
            (i64::MIN, "-9223372036854.775808"),
        ] {
            assert_eq!(amount(micros), expect);
        }
    }
}

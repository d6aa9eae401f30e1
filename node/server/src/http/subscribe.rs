//! `/api/v1/subscribe`: events as lines of JSON, without an end.

use actix_web::{HttpRequest, HttpResponse, get, web};
use bytes::Bytes;
use futures::StreamExt as _;
use ringtail_proto::{UnixMillis, wire::v1};
use serde::Deserialize;
use serde_json::{Value, json};

use super::caller;
use crate::{
    api_error::ApiError,
    services::{Beginning, Subscription, Subscriptions, time_text},
};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Asked {
    site: Option<String>,
    /// `first`, `now`, or a cursor.
    from: Option<String>,
    #[serde(default)]
    every_verdict: bool,
}

pub(super) fn configure(config: &mut web::ServiceConfig) {
    config.service(subscribe);
}

#[get("/api/v1/subscribe")]
async fn subscribe(
    subscriptions: web::Data<Subscriptions>,
    request: HttpRequest,
    asked: web::Query<Asked>,
) -> Result<HttpResponse, ApiError> {
    let caller = caller(&subscriptions.access, &request)?;
    let Asked {
        site,
        from,
        every_verdict,
    } = asked.into_inner();
    let subscription = Subscription {
        site,
        from: beginning(from.as_deref())?,
        every_verdict,
    };
    let responses = subscriptions.subscribe(&caller, subscription)?;
    let lines = responses.map(|response| {
        Ok::<_, actix_web::Error>(match response {
            Ok(response) => lines(&response),
            Err(error) => line(&json!({"error": error.message, "kind": error.kind.name()})),
        })
    });
    let mut answer = HttpResponse::Ok();
    answer.content_type("application/x-ndjson");
    Ok(answer.streaming(lines))
}

fn beginning(from: Option<&str>) -> Result<Beginning, ApiError> {
    match from {
        None | Some("first") => Ok(Beginning::First),
        Some("now") => Ok(Beginning::Now),
        Some(cursor) => {
            let message = "`from` is `first`, `now`, or a cursor";
            let bytes = hex::decode(cursor).map_err(|_| ApiError::invalid(message))?;
            Ok(Beginning::Cursor(bytes.into()))
        }
    }
}

/// Each event, then the cursor behind them.
fn lines(response: &v1::SubscribeResponse) -> Bytes {
    let mut lines = Vec::new();
    for event in &response.events {
        lines.extend(line(&document(event)));
    }
    lines.extend(line(&json!({"cursor": hex::encode(&response.cursor)})));
    lines.into()
}

fn line(value: &Value) -> Bytes {
    format!("{value}\n").into()
}

fn document(event: &v1::SubscribedEvent) -> Value {
    let mut document = json!({
        "site": event.site,
        "id": hex::encode(&event.id),
        "verdict": event.verdict,
        "time": time_text(UnixMillis(event.time_unix_ms)),
        "received": time_text(UnixMillis(event.received_unix_ms)),
        "name": event.name,
        "visitor": format!("{:016x}", event.visitor),
        "page": event.page,
        "hostname": event.hostname,
        "interactive": event.interactive,
    });
    let texts = [
        ("drop_reason", &event.drop_reason),
        ("user_id", &event.user_id),
        ("browser", &event.browser),
        ("browser_version", &event.browser_version),
        ("os", &event.os),
        ("os_version", &event.os_version),
        ("device", &event.device),
        ("screen", &event.screen),
        ("language", &event.language),
        ("country", &event.country),
        ("region", &event.region),
        ("city", &event.city),
        ("referrer", &event.referrer),
        ("source", &event.source),
        ("channel", &event.channel),
        ("utm_source", &event.utm_source),
        ("utm_medium", &event.utm_medium),
        ("utm_campaign", &event.utm_campaign),
        ("utm_content", &event.utm_content),
        ("utm_term", &event.utm_term),
    ];
    let revenue = event.revenue.as_ref();
    let rest = [
        ("scroll_depth", event.scroll_depth.map(|depth| json!(depth))),
        (
            "engaged_ms",
            (event.engaged_ms > 0).then(|| json!(event.engaged_ms)),
        ),
        (
            "props",
            (!event.props.is_empty()).then(|| json!(event.props)),
        ),
        (
            "revenue",
            revenue.map(|of| json!({"amount": of.amount, "currency": of.currency})),
        ),
    ];
    if let Some(fields) = document.as_object_mut() {
        let texts = texts.into_iter().filter(|(_, text)| !text.is_empty());
        fields.extend(texts.map(|(name, text)| (name.to_owned(), json!(text))));
        let rest = rest.into_iter();
        fields.extend(rest.filter_map(|(name, value)| Some((name.to_owned(), value?))));
    }
    document
}

//! The HTTP handlers: headers and body in, status and headers out. Everything else is the [`Gateway`]'s.

use std::{borrow::Cow, convert::Infallible, net::IpAddr, time::Duration};

use actix_web::{
    HttpRequest, HttpResponse, HttpResponseBuilder,
    body::SizedStream,
    http::{
        StatusCode,
        header::{self, ContentType},
    },
    web,
};
use bytes::{Bytes, BytesMut};
use futures::StreamExt;
use serde_json::{Value, json};

use crate::{CollectError, Encoding, Envelope, Gateway, PIXEL, Signals, dialects::plausible};

/// How long a browser may remember that it may send: a day.
const PREFLIGHT_SECONDS: &str = "86400";
const ALLOWED_HEADERS: &str = "content-type, content-encoding, authorization, x-debug-request";

/// Mounts `POST /api/event`, `POST /api/v1/events` and `GET /pixel.gif`, with their preflights.
pub fn configure(config: &mut web::ServiceConfig, gateway: web::Data<Gateway>) {
    config
        .app_data(gateway)
        .service(
            web::resource("/api/event")
                .route(web::post().to(event))
                .route(web::method(actix_web::http::Method::OPTIONS).to(preflight)),
        )
        .service(
            web::resource("/api/v1/events")
                .route(web::post().to(events))
                .route(web::method(actix_web::http::Method::OPTIONS).to(preflight)),
        )
        .service(web::resource("/pixel.gif").route(web::get().to(pixel)));
}

async fn event(
    request: HttpRequest,
    mut payload: web::Payload,
    gateway: web::Data<Gateway>,
) -> HttpResponse {
    let bytes_max = gateway.settings().event_body_bytes_max;
    let result = match read(&request, &mut payload, &gateway, bytes_max).await {
        Ok((encoding, body)) => {
            gateway
                .collect_plausible(&envelope(&request), encoding, &body)
                .await
        }
        Err(error) => {
            gateway.count_refused(&error);
            Err(error)
        }
    };
    match result {
        Ok(answer) => open_to_all(StatusCode::ACCEPTED)
            .insert_header(("x-plausible-dropped", answer.dropped))
            .insert_header((header::ACCESS_CONTROL_EXPOSE_HEADERS, "x-plausible-dropped"))
            .content_type("text/plain; charset=utf-8")
            .body("ok"),
        Err(error) => refusal(&error, &plausible::error_body(&error), payload),
    }
}

async fn events(
    request: HttpRequest,
    mut payload: web::Payload,
    gateway: web::Data<Gateway>,
) -> HttpResponse {
    let bytes_max = gateway.settings().batch_body_bytes_max;
    let result = match read(&request, &mut payload, &gateway, bytes_max).await {
        Ok((encoding, body)) => {
            gateway
                .collect_events(&envelope(&request), encoding, &body)
                .await
        }
        Err(error) => {
            gateway.count_refused(&error);
            Err(error)
        }
    };
    match result {
        Ok(answer) if answer.is_waiting => open_to_all(StatusCode::ACCEPTED).json(answer),
        Ok(answer) => open_to_all(StatusCode::OK).json(answer),
        Err(error) => {
            let body = json!({"error": error.to_string(), "kind": error.kind().name()});
            refusal(&error, &body, payload)
        }
    }
}

/// Mail programs and pages without script show what they get, so they always get the image.
async fn pixel(request: HttpRequest, gateway: web::Data<Gateway>) -> HttpResponse {
    let query = request.query_string();
    if let Err(error) = gateway.collect_pixel(&envelope(&request), query).await {
        tracing::debug!(%error, "pixel not counted");
    }
    open_to_all(StatusCode::OK)
        .insert_header((header::CACHE_CONTROL, "no-store, private"))
        .content_type("image/gif")
        .body(PIXEL.as_slice())
}

async fn preflight() -> HttpResponse {
    open_to_all(StatusCode::NO_CONTENT)
        .insert_header((header::ACCESS_CONTROL_ALLOW_METHODS, "POST, OPTIONS"))
        .insert_header((header::ACCESS_CONTROL_ALLOW_HEADERS, ALLOWED_HEADERS))
        .insert_header((header::ACCESS_CONTROL_MAX_AGE, PREFLIGHT_SECONDS))
        .finish()
}

/// Any page may send; none needs cookies for it.
fn open_to_all(status: StatusCode) -> HttpResponseBuilder {
    let mut response = HttpResponse::build(status);
    response.insert_header((header::ACCESS_CONTROL_ALLOW_ORIGIN, "*"));
    response
}

fn refusal(error: &CollectError, body: &Value, payload: web::Payload) -> HttpResponse {
    let status =
        StatusCode::from_u16(error.http_status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    if status.is_server_error() {
        tracing::warn!(%error, "events refused");
    }
    let mut response = open_to_all(status);
    if let Some(wait_ms) = error.retry_after_ms() {
        response.insert_header((header::RETRY_AFTER, wait_ms.div_ceil(1_000).to_string()));
    }
    if status == StatusCode::UNAUTHORIZED {
        response.insert_header((header::WWW_AUTHENTICATE, "Bearer"));
    }
    response.content_type(ContentType::json());
    let body = Bytes::from(body.to_string());
    if !matches!(
        status,
        StatusCode::PAYLOAD_TOO_LARGE | StatusCode::REQUEST_TIMEOUT
    ) {
        return response.body(body);
    }
    // The rest of the body is still on its way. The server would read an endless one to its end, unless the unread
    // payload lives as long as the answer: then it closes the connection.
    let length = body.len() as u64;
    let answer = futures::stream::once(async move { Ok::<_, Infallible>(body) });
    let answer = answer.map(move |chunk| {
        let _unread = &payload;
        chunk
    });
    response.force_close();
    response.body(SizedStream::new(length, answer))
}

/// Reads the body, which must not be larger than its cap, nor take longer than it may.
async fn read(
    request: &HttpRequest,
    payload: &mut web::Payload,
    gateway: &Gateway,
    bytes_max: usize,
) -> Result<(Encoding, Bytes), CollectError> {
    let encoding = Encoding::from_header(text(request, header::CONTENT_ENCODING))?;
    let announced =
        text(request, header::CONTENT_LENGTH).and_then(|length| length.parse::<u64>().ok());
    if announced.is_some_and(|length| length > bytes_max as u64) {
        return Err(CollectError::BodyTooLarge { bytes_max });
    }
    let ms_max = gateway.settings().body_read_ms_max;
    let reading = read_chunks(payload, bytes_max);
    let body = tokio::time::timeout(Duration::from_millis(ms_max), reading).await;
    let body = body.map_err(|_| CollectError::BodyTimeout { ms_max })??;
    Ok((encoding, body))
}

async fn read_chunks(payload: &mut web::Payload, bytes_max: usize) -> Result<Bytes, CollectError> {
    let mut first = Bytes::new();
    let mut more = BytesMut::new();
    while let Some(chunk) = payload.next().await {
        let chunk = chunk.map_err(|error| CollectError::malformed("body", error.to_string()))?;
        if first.len() + more.len() + chunk.len() > bytes_max {
            return Err(CollectError::BodyTooLarge { bytes_max });
        }
        // A beacon comes in one piece, which need not be copied.
        if first.is_empty() && more.is_empty() {
            first = chunk;
            continue;
        }
        more.extend_from_slice(&std::mem::take(&mut first));
        more.extend_from_slice(&chunk);
    }
    Ok(if more.is_empty() {
        first
    } else {
        more.freeze()
    })
}

fn envelope(request: &HttpRequest) -> Envelope<'_> {
    let or_empty = |name| text(request, name).unwrap_or_default();
    let says_one = |name: &str| {
        request
            .headers()
            .get(name)
            .is_some_and(|value| value == "1")
    };
    Envelope {
        peer: request
            .peer_addr()
            .map_or(IpAddr::from([0, 0, 0, 0]), |peer| peer.ip()),
        forwarded_for: forwarded_for(request),
        user_agent: or_empty(header::USER_AGENT),
        authorization: text(request, header::AUTHORIZATION),
        origin: or_empty(header::ORIGIN),
        referer: or_empty(header::REFERER),
        accept_language: or_empty(header::ACCEPT_LANGUAGE),
        signals: Signals {
            do_not_track: says_one("dnt") || says_one("sec-gpc"),
            consent: None,
        },
    }
}

/// A proxy adds to the header's end, or a header of its own at the end: together they are one list.
fn forwarded_for(request: &HttpRequest) -> Option<Cow<'_, str>> {
    let headers = request.headers().get_all(header::X_FORWARDED_FOR);
    let mut values = headers.filter_map(|value| value.to_str().ok());
    let first = values.next()?;
    Some(values.fold(Cow::Borrowed(first), |list, value| {
        Cow::Owned(format!("{list},{value}"))
    }))
}

fn text(request: &HttpRequest, name: header::HeaderName) -> Option<&str> {
    request
        .headers()
        .get(name)
        .and_then(|value| value.to_str().ok())
}

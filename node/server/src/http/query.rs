//! `/api/v2/query` and the stream of current visitors.

use std::convert::Infallible;

use actix_web::{HttpRequest, HttpResponse, Responder, get, post, web};
use actix_web_lab::sse;
use futures::StreamExt as _;
use serde::Deserialize;
use serde_json::json;

use super::{JSON_BYTES_MAX, caller, json_response};
use crate::{
    api_error::ApiError,
    services::{Realtime, Reports, time_text},
};
use ringtail_proto::ErrorKind;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Followed {
    site: String,
}

pub(super) fn configure(config: &mut web::ServiceConfig) {
    config.service(report).service(current_visitors);
}

#[post("/api/v2/query")]
async fn report(
    reports: web::Data<Reports>,
    request: HttpRequest,
    body: web::Bytes,
) -> Result<HttpResponse, ApiError> {
    let caller = caller(&reports.access, &request)?;
    if body.len() > JSON_BYTES_MAX {
        let message = format!("the query is over {JSON_BYTES_MAX} bytes");
        return Err(ApiError::new(ErrorKind::TooLarge, message));
    }
    let report = reports.query(&caller, body).await?;
    Ok(json_response(report))
}

/// Server-sent events, one at each change and one every ten seconds.
#[get("/api/v1/realtime")]
async fn current_visitors(
    realtime: web::Data<Realtime>,
    request: HttpRequest,
    query: web::Query<Followed>,
) -> Result<impl Responder, ApiError> {
    let caller = caller(&realtime.access, &request)?;
    let counts = realtime.follow(&caller, &query.site)?;
    let events = counts.map(|count| {
        let data = json!({
            "visitors": count.visitors,
            "as_of": time_text(count.as_of),
            "is_fresh": count.is_fresh,
        });
        let data = sse::Data::new(data.to_string()).event("realtime");
        Ok::<_, Infallible>(sse::Event::Data(data))
    });
    Ok(sse::Sse::from_stream(events))
}

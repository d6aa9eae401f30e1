//! The node's HTTP surface: thin handlers over the services. Beacons are the gateway's own.

mod assets;
mod events;
mod health;
mod imports;
mod keys;
mod query;
mod ring;
mod sites;
mod status;

use actix_web::{HttpRequest, HttpResponse, error::JsonPayloadError, http::header, web};
use ringtail_proto::ErrorKind;

use crate::{
    api_error::ApiError,
    services::{Access, Caller},
};

pub(crate) use health::HealthView;

/// Largest JSON document that the API takes; beacons have limits of their own.
const JSON_BYTES_MAX: usize = 64 << 10;

/// Adds every route but the beacons'.
pub(crate) fn configure(config: &mut web::ServiceConfig) {
    let json = web::JsonConfig::default()
        .limit(JSON_BYTES_MAX)
        .error_handler(|error, _| json_error(&error).into());
    let query = web::QueryConfig::default()
        .error_handler(|error, _| ApiError::invalid(format!("query string: {error}")).into());
    config.app_data(json).app_data(query);
    health::configure(config);
    sites::configure(config);
    keys::configure(config);
    imports::configure(config);
    query::configure(config);
    events::configure(config);
    status::configure(config);
    ring::configure(config);
    assets::configure(config);
}

/// The routes of a node that replays its log: health, and a refusal for everything else.
pub(crate) fn configure_replaying(config: &mut web::ServiceConfig) {
    health::configure_replaying(config);
    config.default_service(web::to(async || -> Result<HttpResponse, ApiError> {
        let message = "the node replays its log";
        Err(ApiError::new(ErrorKind::Unavailable, message))
    }));
}

/// The caller of a request.
fn caller(access: &Access, request: &HttpRequest) -> Result<Caller, ApiError> {
    let header = request.headers().get(header::AUTHORIZATION);
    access.caller(header.and_then(|value| value.to_str().ok()))
}

/// A document that is JSON already.
fn json_response(document: web::Bytes) -> HttpResponse {
    let json = header::ContentType::json();
    HttpResponse::Ok().insert_header(json).body(document)
}

fn json_error(error: &JsonPayloadError) -> ApiError {
    match error {
        JsonPayloadError::Overflow { .. } | JsonPayloadError::OverflowKnownLength { .. } => {
            let message = format!("the document is over {JSON_BYTES_MAX} bytes");
            ApiError::new(ErrorKind::TooLarge, message)
        }
        other => ApiError::invalid(other),
    }
}

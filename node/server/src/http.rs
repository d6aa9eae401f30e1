//! The node's HTTP surface: thin handlers over the services. Beacons are the gateway's own.

mod archive;
mod assets;
mod events;
mod health;
mod imports;
mod keys;
mod query;
mod reprocess;
mod ring;
mod sites;
mod status;
mod subscribe;

use std::sync::Arc;

use actix_web::{
    HttpRequest, HttpResponse,
    dev::{Service, ServiceRequest, ServiceResponse},
    error::JsonPayloadError,
    http::{ConnectionType, header},
    web,
};
use ringtail_proto::ErrorKind;

use crate::{
    api_error::ApiError,
    health::{Health, NodeState},
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
    archive::configure(config);
    subscribe::configure(config);
    reprocess::configure(config);
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

/// Tells clients of a node that stops to go elsewhere with their next request.
pub(crate) fn close_when_stopping<S, B>(
    health: &Arc<Health>,
    request: ServiceRequest,
    service: &S,
) -> impl Future<Output = Result<ServiceResponse<B>, actix_web::Error>> + use<S, B>
where
    S: Service<ServiceRequest, Response = ServiceResponse<B>, Error = actix_web::Error>,
{
    let health = Arc::clone(health);
    let answering = service.call(request);
    async move {
        let mut answer = answering.await?;
        if health.state() > NodeState::Ready {
            let head = answer.response_mut().head_mut();
            head.set_connection_type(ConnectionType::Close);
        }
        Ok(answer)
    }
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

//! `/api/v1/events/{id}`: what became of one event.

use actix_web::{HttpRequest, HttpResponse, get, web};
use serde::Deserialize;

use super::{caller, json_response};
use crate::{api_error::ApiError, services::Lookup};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Query {
    site: String,
}

pub(super) fn configure(config: &mut web::ServiceConfig) {
    config.service(event);
}

#[get("/api/v1/events/{id}")]
async fn event(
    lookup: web::Data<Lookup>,
    request: HttpRequest,
    id: web::Path<String>,
    query: web::Query<Query>,
) -> Result<HttpResponse, ApiError> {
    let caller = caller(&lookup.access, &request)?;
    let event = lookup.event(&caller, &query.site, &id).await?;
    Ok(json_response(event))
}
